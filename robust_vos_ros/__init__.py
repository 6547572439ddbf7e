"""Video object segmentation for robots: SAM 2 with bounded per-object memory, as ROS 2 package."""
