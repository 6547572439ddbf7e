"""Where objects are in space: cameras, depth images, positions of masks, other frames. No ROS.

Messages are read by their fields, whatever their classes.
"""
