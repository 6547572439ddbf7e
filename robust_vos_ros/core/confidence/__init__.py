"""Confidence, visibility and state of each object.

evidence     `Observation`: measures of a mask, and its change since the prompt
calibration  `Calibration`: maps evidence to P(IoU > 0.5)
states       updates visibility, confidence, state and events of each object in a frame
"""
