"""Clicks in RViz: a point in space becomes a pixel by camera_info and TF, or a refusal."""

import array

import numpy as np
import pytest

pytest.importorskip('rclpy')
import cv2
from geometry_msgs.msg import Point, PointStamped, Transform
from sensor_msgs.msg import CameraInfo

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.node import space_clicks, transforms
from robust_vos_ros.node.camera_info import CameraInfos
from robust_vos_ros.node.projection import image_size, project
from robust_vos_ros.node.transforms import TransformError, to_rigid
from robust_vos_ros.spatial.rigid import Rigid

K = [100.0, 0.0, 64.0, 0.0, 100.0, 48.0, 0.0, 0.0, 1.0]
P = [90.0, 0.0, 60.0, -9.0, 0.0, 90.0, 50.0, 0.0, 0.0, 0.0, 1.0, 0.0]
BARREL = [-0.3, 0.1, 0.001, -0.002, -0.02]
FISHEYE = (64 - 100 * np.arctan(0.24), 48.0)  # the angle counts, not its tangent
DISC = (-0.48, 0.0, 2.0)  # at pixel (40, 48), in the optical frame of the camera
# The camera is at (1, 0, 0.5) of the map and looks along its x axis.
CAMERA_FROM_MAP = Rigid(np.array([0.5, -0.5, 0.5, 0.5]), np.array([0.0, 0.5, -1.0]))
DISC_IN_MAP = (3.0, 0.48, 0.5)


def make_info(*, width=128, height=96, k=K, p=P, frame_id='camera', **fields):
    info = CameraInfo(width=width, height=height, k=k, p=p)
    info.header.frame_id = frame_id
    info.distortion_model = fields.pop('distortion_model', 'plumb_bob')
    info.d = array.array('d', fields.pop('d', []))
    for name, value in fields.pop('roi', {}).items():
        setattr(info.roi, name, value)
    for name, value in fields.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    ('fields', 'rectified', 'expected'),
    [
        ({}, False, (40.0, 48.0)),
        ({'d': [0.0] * 5}, False, (40.0, 48.0)),  # calibrated, and without distortion
        # a lens that nobody described, but which distorts nothing
        ({'distortion_model': '', 'd': []}, False, (40.0, 48.0)),
        # P has another focal length and the baseline of a stereo camera: 90 x + 60 z - 9
        ({}, True, ((90 * -0.48 + 60 * 2 - 9) / 2, 50.0)),
        ({'d': BARREL}, True, ((90 * -0.48 + 60 * 2 - 9) / 2, 50.0)),  # of the raw image
        ({'binning_x': 2, 'binning_y': 2}, False, (20.0, 24.0)),  # K is of the whole sensor
        # a fisheye lens with all coefficients 0 but one, which is as good as that
        ({'distortion_model': 'equidistant', 'd': [0.0, 0.0, 0.0, 1e-9]}, False, FISHEYE),
        ({'roi': {'x_offset': 30, 'y_offset': 40, 'width': 64, 'height': 32}}, False, (10, 8)),
    ],
)
def test_projection(fields, rectified, expected):
    pixel = project(np.array(DISC), make_info(**fields), rectified=rectified)
    assert pixel == pytest.approx(expected)


@pytest.mark.parametrize(
    ('model', 'd'),
    [
        ('plumb_bob', BARREL),
        ('plumb_bob', BARREL[:4]),
        ('rational_polynomial', [0.5, 0.1, 0.001, 0.0, 0.01, 0.8, 0.2, 0.02]),
    ],
)
def test_distortion(model, d):
    """Against the formula in the documentation of OpenCV."""
    x, y = DISC[0] / DISC[2], 0.1
    k1, k2, p1, p2, k3, k4, k5, k6 = [*d, *[0.0] * (8 - len(d))]
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    column = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    row = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    info = make_info(distortion_model=model, d=d)
    pixel = project(np.array([x * 2, y * 2, 2.0]), info)
    assert pixel == pytest.approx((100 * column + 64, 100 * row + 48), abs=1e-6)


@pytest.mark.parametrize(
    ('point', 'fields', 'rectified', 'sentence'),
    [
        ((0.0, 0.0, -1.0), {}, False, "in 'camera': it is behind the camera"),
        ((0.0, 0.0, 0.0), {}, False, 'behind the camera'),  # no direction
        ((float('nan'), 0.0, 1.0), {}, False, 'not a number'),
        ((2.0, 0.0, 2.0), {}, False, r'pixel \(164, 48\), outside of the image of 128 x 96'),
        ((-2.0, 0.0, 2.0), {}, False, r'pixel \(-36, 48\), outside'),
        (DISC, {'k': [0.0] * 9}, False, r"without calibration.* no pixel in 'camera'"),
        (DISC, {'k': [0.0] * 9, 'p': [0.0] * 12}, True, 'without calibration'),
        (DISC, {'distortion_model': 'thin_prism', 'd': [0.1] * 4}, False, "'thin_prism'"),
        # at 71 degrees the polynomial has turned round: (61, 48) shows another thing
        ((2.9, 0.0, 1.0), {'d': [-0.12, 0.0, 0.0, 0.0, 0.0]}, False, 'too far from the axis'),
    ],
)
def test_points_without_a_pixel(point, fields, rectified, sentence):
    with pytest.raises(PromptError, match=sentence):
        project(np.array(point), make_info(**fields), rectified=rectified)


def test_image_size_after_binning_and_region():
    roi = {'x_offset': 8, 'y_offset': 8, 'width': 64, 'height': 32}
    assert image_size(make_info()) == (128, 96)
    assert image_size(make_info(roi=roi, binning_x=2, binning_y=2)) == (32, 16)


def test_transforms_of_tf():
    transform = Transform()
    axis = np.array([1.0, 2.0, -2.0]) / 3
    half = 0.4
    q = transform.rotation
    q.x, q.y, q.z = (float(v) for v in 2 * axis * np.sin(half))  # not of unit length
    q.w = float(2 * np.cos(half))
    transform.translation.x, transform.translation.z = 1.0, -3.0
    rigid = to_rigid(transform)
    assert np.allclose(rigid.rotation, cv2.Rodrigues(axis * 2 * half)[0])
    assert rigid.move(np.zeros(3)).tolist() == [1.0, 0.0, -3.0]


class FakeTransforms:
    """What TF knows: one frame, after some questions."""

    def __init__(self, *, unknown_for=0):
        self.unknown_for = unknown_for
        self.asked = []

    def lookup(self, target, source, stamp_ns):
        self.asked.append((target, source, stamp_ns))
        if source != 'map' or len(self.asked) <= self.unknown_for:
            raise TransformError(f'{source} is not known')
        return CAMERA_FROM_MAP

    def clear(self):
        self.asked.clear()

    def destroy(self):
        pass


@pytest.fixture
def scene(bench, monkeypatch):
    """A bench with a camera that publishes its calibration, and what is refused as sentences."""
    from robust_vos_ros.node.clicks import Clicks

    monkeypatch.setattr(space_clicks, 'START_S', 1.0)
    monkeypatch.setattr(space_clicks, 'TRANSFORM_S', 0.5)
    node = bench.robust_vos
    clicks = node._activated.cameras[0].clicks
    fake = FakeTransforms()
    cameras = CameraInfos()  # which have not heard what earlier tests sent
    bench.on_node(lambda: cameras.subscribe(node, '/camera_info'))
    space = space_clicks.SpaceClicks(node, bench.pipeline, cameras, listen=lambda node: fake)
    assert isinstance(clicks, Clicks)
    monkeypatch.setattr(clicks, '_space', space)
    serving, bench.refused = node._our_services[0].serving, []
    count = serving.count_failure
    monkeypatch.setattr(
        serving,
        'count_failure',
        lambda what, error: bench.refused.append(str(error)) or count(what, error),
    )
    bench.space, bench.fake = space, fake
    bench.show()
    yield bench
    bench.on_node(space.destroy)
    bench.on_node(cameras.destroy)


def click(bench, xyz, frame_id='map'):
    """Click and return how many objects there are afterwards; the camera goes on meanwhile."""
    publish = bench.talk(PointStamped, '/clicked_point')
    msg = PointStamped(point=Point(**dict(zip('xyz', xyz, strict=True))))
    msg.header.frame_id = frame_id
    counts = bench.counts
    done = counts.requests_served + counts.requests_failed
    publish(msg)
    info = bench.node.create_publisher(CameraInfo, '/camera_info', 1)

    def is_answered():
        if bench.info is not None:
            info.publish(bench.info)
        return bench.counts.requests_served + bench.counts.requests_failed > done

    bench.wait(is_answered, 'an end of the click')
    bench.node.destroy_publisher(info)
    return len(bench.show().objects)


@pytest.mark.ros
@pytest.mark.parametrize(
    ('xyz', 'frame_id', 'unknown_for'),
    [
        (DISC_IN_MAP, 'map', 0),  # RViz with a fixed frame of the robot
        (DISC, 'camera', 0),  # RViz in the frame of the camera: no TF is needed
        (DISC_IN_MAP, 'map', 3),  # TF needs its time
    ],
)
def test_a_click_in_rviz_adds_what_is_there(scene, xyz, frame_id, unknown_for):
    bench = scene
    bench.info = make_info()
    bench.fake.unknown_for = unknown_for
    assert click(bench, xyz, frame_id) == 1, bench.refused
    assert bench.refused == []
    roi = bench.objects[-1].objects[0].roi
    assert roi.x_offset <= 40 < roi.x_offset + roi.width
    assert roi.y_offset <= 48 < roi.y_offset + roi.height
    if frame_id == 'map':  # the camera moves: where it was when it took the image counts
        assert bench.fake.asked[-1][:2] == ('camera', 'map')
        assert bench.fake.asked[-1][2] in {bench.stamp, bench.stamp - 33_000_000}


@pytest.mark.ros
@pytest.mark.parametrize(
    ('xyz', 'frame_id', 'info', 'sentence'),
    [
        (DISC_IN_MAP, 'map', None, 'nothing came on /camera_info within 1 s'),
        (DISC_IN_MAP, 'odom', make_info(), "TF does not connect it to the frame 'camera'"),
        ((0.0, 0.0, 0.5), 'map', make_info(), 'it is behind the camera'),
        ((2.0, 5.0, 0.5), 'map', make_info(), 'outside of the image of 128 x 96'),
        (DISC_IN_MAP, 'map', make_info(width=640, height=480), 'images of 640 x 480, but'),
    ],
)
def test_a_click_in_rviz_without_a_pixel_is_refused(scene, xyz, frame_id, info, sentence):
    scene.info = info
    assert click(scene, xyz, frame_id) == 0
    (refusal,) = scene.refused
    assert sentence in refusal


@pytest.mark.ros
def test_without_tf2_the_refusal_says_what_to_install(scene, monkeypatch):
    monkeypatch.setattr(transforms, 'tf2_ros', None)
    monkeypatch.setattr(scene.space, '_listen', transforms.listen)
    scene.info = None
    assert click(scene, DISC_IN_MAP) == 0
    assert 'needs tf2_ros, which is not installed' in scene.refused[0]
    scene.info = make_info()  # in the frame of the camera there is nothing to look up
    assert click(scene, DISC, 'camera') == 1


@pytest.mark.ros
def test_nothing_listens_to_tf_before_the_first_click_in_space(scene):
    assert '/tf' not in [item.topic_name for item in scene.robust_vos.subscriptions]


@pytest.mark.ros
def test_a_click_in_rviz_with_the_real_tf(scene, monkeypatch):
    tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is part of a ROS 2 installation')
    from geometry_msgs.msg import TransformStamped

    bench = scene
    monkeypatch.setattr(bench.space, '_listen', transforms.listen)
    broadcaster = tf2_ros.StaticTransformBroadcaster(bench.node)
    pose = TransformStamped(child_frame_id='camera')
    pose.header.frame_id = 'map'
    pose.transform.translation.x, pose.transform.translation.z = 1.0, 0.5
    q = pose.transform.rotation  # of an optical frame
    q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    broadcaster.sendTransform(pose)
    bench.info = make_info()
    assert click(bench, DISC_IN_MAP) == 1, bench.refused
    assert click(bench, DISC_IN_MAP, 'nowhere') == 1
    assert 'nowhere' in bench.refused[0]
