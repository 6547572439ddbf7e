"""What a planner may believe of each object.

evidence     `Observation`: what the network says of a mask, and how it differs from its prompt
calibration  `Calibration`: evidence to P(IoU > 0.5)
states       visibility, confidence, state and events of each object in a frame
"""
