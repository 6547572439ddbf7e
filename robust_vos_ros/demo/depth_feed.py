"""Depth and camera_info of the demo's camera."""

from __future__ import annotations

import array

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from robust_vos_ros.demo.depth import CAMERA

DEPTH_TOPIC = '/camera/depth/image_raw'
INFO_TOPIC = '/camera/camera_info'  # in the namespace of the image, where the node expects it


class DepthFeed:
    """Publishes depth and camera_info with the headers of images.

    Args:
        node: Gets the publishers.
    """

    def __init__(self, node: Node) -> None:
        self._depths = node.create_publisher(Image, DEPTH_TOPIC, QoSProfile(depth=5))
        self._infos = node.create_publisher(CameraInfo, INFO_TOPIC, QoSProfile(depth=5))

    def publish(self, depth: np.ndarray, header: Header) -> None:
        """Publish the depth of one image.

        Args:
            depth: (H, W) uint16 in millimetres, 0 = unknown.
            header: Of the image.
        """
        height, width = depth.shape
        info = CameraInfo(header=header, height=height, width=width)
        info.distortion_model = 'plumb_bob'
        info.d = [0.0] * 5
        info.k = CAMERA.matrix.ravel().tolist()
        info.r = np.eye(3).ravel().tolist()
        info.p = np.hstack([CAMERA.matrix, np.zeros((3, 1))]).ravel().tolist()
        self._infos.publish(info)
        message = Image(
            header=header, height=height, width=width, encoding='16UC1', step=2 * width
        )
        message.data = array.array('B', depth.astype('<u2').tobytes())
        self._depths.publish(message)
