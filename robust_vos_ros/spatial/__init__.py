"""3D positions: cameras, depth images, positions of masks, rigid transforms. Imports no ROS.

Messages are accessed by attribute, so any object with the fields will do.
"""
