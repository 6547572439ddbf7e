"""Convert positions to ROS messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseWithCovariance,
    Transform,
    TransformStamped,
    Vector3,
)
from geometry_msgs.msg import Quaternion as QuaternionMsg
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header

from robust_vos_ros.core.types import ObjectState, TrackedObject
from robust_vos_ros.node.messages import to_bytes
from robust_vos_ros.spatial.locate import Located
from robust_vos_ros.spatial.rigid import Rigid
from robust_vos_ros.visualization import label_colors

try:
    from vision_msgs.msg import (
        BoundingBox3D,
        Detection3D,
        Detection3DArray,
        ObjectHypothesis,
        ObjectHypothesisWithPose,
    )
except ImportError:  # optional: vision_msgs is not part of a minimal ROS installation
    Detection3DArray = None
try:
    from visualization_msgs.msg import Marker, MarkerArray
except ImportError:  # optional as well
    MarkerArray = None
try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # optional as well
    TFMessage = None

_UNKNOWN_ANGLE = np.pi**2  # variance of an unknown angle, rad^2
_LIFETIME = Duration(sec=2)  # lifetime of a marker, after which outdated boxes disappear
_TEXT_M = 0.05  # minimum height of a marker's text
_ALPHA, _UNSURE_ALPHA = 0.5, 0.2  # opacity of boxes of TRACKED and other objects
# rgb is packed bytes, but PCL and RViz expect FLOAT32.
_FIELD_TYPES = {
    'x': PointField.FLOAT32, 'y': PointField.FLOAT32, 'z': PointField.FLOAT32,
    'rgb': PointField.FLOAT32, 'label': PointField.UINT32,
}  # fmt: skip

Placed = tuple[TrackedObject, Located]


def to_pose(point: np.ndarray, rigid: Rigid) -> Pose:
    """Return a pose at (3,) metres, with the orientation of the camera's axes."""
    x, y, z = (float(value) for value in point)
    qx, qy, qz, qw = (float(value) for value in rigid.quaternion)
    return Pose(position=Point(x=x, y=y, z=z), orientation=QuaternionMsg(x=qx, y=qy, z=qz, w=qw))


def to_pose_with_covariance(located: Located, rigid: Rigid) -> PoseWithCovariance:
    """Return a position with covariance; a large variance marks the orientation as unknown."""
    covariance = np.diag([0.0] * 3 + [_UNKNOWN_ANGLE] * 3)
    covariance[:3, :3] = located.covariance
    return PoseWithCovariance(
        pose=to_pose(located.position, rigid), covariance=covariance.ravel().tolist()
    )


def to_detections(placed: Iterable[Placed], header: Header, rigid: Rigid) -> Any:
    """Return a vision_msgs/Detection3DArray; needs vision_msgs.

    Args:
        placed: Objects and their positions in the frame of the header.
        header: Stamp of the image, and frame of the positions.
        rigid: Transform from the camera to that frame, which gives the orientation of boxes.
    """
    detections = []
    for item, located in placed:
        x, y, z = (float(value) for value in located.box_size)
        detections.append(
            Detection3D(
                header=header,
                id=item.object_id,
                results=[
                    ObjectHypothesisWithPose(
                        hypothesis=ObjectHypothesis(class_id=item.class_id, score=item.confidence),
                        pose=to_pose_with_covariance(located, rigid),
                    )
                ],
                bbox=BoundingBox3D(
                    center=to_pose(located.box_center, rigid), size=Vector3(x=x, y=y, z=z)
                ),
            )
        )
    return Detection3DArray(header=header, detections=detections)


def to_markers(placed: Iterable[Placed], header: Header, rigid: Rigid) -> Any:
    """Return a visualization_msgs/MarkerArray that replaces the previous one.

    It has a box and the id of each object, in its colour of the overlay; boxes of objects that are
    not TRACKED are more transparent. Arguments as in `to_detections`; needs visualization_msgs.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for item, located in placed:
        red, green, blue = (float(value) / 255 for value in label_colors()[item.label % 256])
        width, height, depth = (float(value) for value in located.box_size)
        common = {'header': header, 'id': item.label, 'lifetime': _LIFETIME}
        alpha = _ALPHA if item.state == ObjectState.TRACKED else _UNSURE_ALPHA
        box = Marker(
            ns='box', type=Marker.CUBE, pose=to_pose(located.box_center, rigid),
            scale=Vector3(x=width, y=height, z=depth),
            color=ColorRGBA(r=red, g=green, b=blue, a=alpha), **common,
        )  # fmt: skip
        size_m = max(_TEXT_M, height / 4)
        above = rigid.rotation @ np.array([0.0, -height / 2 - size_m, 0.0])  # in the image
        text = Marker(
            ns='id', type=Marker.TEXT_VIEW_FACING, text=item.object_id,
            pose=to_pose(located.box_center + above, rigid), scale=Vector3(z=size_m),
            color=ColorRGBA(r=red, g=green, b=blue, a=1.0), **common,
        )  # fmt: skip
        markers += [box, text]
    return MarkerArray(markers=markers)


def to_transforms(
    placed: Iterable[Placed], header: Header, rigid: Rigid, *, camera: str = ''
) -> Any:
    """Return a tf2_msgs/TFMessage with the frame object/<object_id> of each object.

    Its origin is the position, its axes are those of the camera. Needs tf2_msgs.

    Args:
        placed: As in `to_detections`; `header` and `rigid` as well.
        header: Stamp and frame.
        rigid: From the camera to that frame.
        camera: Name of one of several cameras, for object/<camera>/<object_id>.
    """
    parent = f'object/{camera}' if camera else 'object'
    transforms = []
    for item, located in placed:
        pose = to_pose(located.position, rigid)
        at = Vector3(x=pose.position.x, y=pose.position.y, z=pose.position.z)
        transforms.append(
            TransformStamped(
                header=header,
                child_frame_id=f'{parent}/{item.object_id}',
                transform=Transform(translation=at, rotation=pose.orientation),
            )
        )
    return TFMessage(transforms=transforms)


def to_cloud(points: np.ndarray, header: Header) -> PointCloud2:
    """Return an unorganised point cloud.

    Args:
        points: (N,) of `spatial.cloud.POINT` or `POINT_WITHOUT_COLOR`, in the frame of the header.
        header: Stamp of the image, and frame of the positions.
    """
    kinds = points.dtype.fields
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=kinds[name][1], datatype=_FIELD_TYPES[name], count=1)
            for name in points.dtype.names
        ],
        point_step=points.itemsize,
        row_step=points.nbytes,
        data=to_bytes(points.view(np.uint8)),
        is_dense=True,
    )
