"""Video object segmentation for robots: SAM 2 with bounded memory per object, for ROS 2."""
