"""Video object segmentation for robots: SAM 2 with streaming per-object memory, as a ROS 2 package."""
