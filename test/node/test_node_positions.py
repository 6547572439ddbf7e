"""Positions of a real node over real DDS: a disc at a known depth, and depth of every bad kind."""

import array
import importlib.util
import types

import numpy as np
import pytest

pytest.importorskip('rclpy')
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from robust_vos_ros.spatial.cloud import POINT
from robust_vos_ros.visualization import label_colors

pytestmark = pytest.mark.ros
SIZE_HW = (96, 128)
FOCAL = 120.0
DISC_M, BACKGROUND_M = 1.5, 3.0
TRUTH = np.array([(40 - 63.5) / FOCAL * DISC_M, (48 - 47.5) / FOCAL * DISC_M, DISC_M])


# A slow machine must not be called stale while it waits for a report.
SPATIAL = {
    'spatial.enabled': True,
    'spatial.poses': 'always',
    'spatial.tf': True,
    'spatial.max_wait_s': 1.0,
    'diagnostics.stale_after_s': 60.0,
}


@pytest.fixture(scope='module')
def spatial_bench(make_bench):
    bench = make_bench(SPATIAL)
    connect(bench)
    return bench


def connect(bench, kind=Image, topic='/depth'):
    """Prepare to send depth and camera_info, and listen to diagnostics."""
    bench.send_depth = bench.talk(kind, topic)
    bench.send_info = bench.talk(CameraInfo, '/camera_info')
    bench.reports = bench.listen(DiagnosticArray, '/diagnostics')


@pytest.fixture
def bench(spatial_bench):
    spatial_bench.fresh()
    spatial_bench.send_info(make_info())
    cameras = spatial_bench.robust_vos._configured.cameras[0].outputs.infos
    spatial_bench.wait(lambda: cameras.newest is not None, 'camera_info')
    yield spatial_bench
    assert spatial_bench.failures == []


def make_info(size_hw=SIZE_HW, focal=FOCAL):
    height, width = size_hw
    info = CameraInfo(height=height, width=width, distortion_model='plumb_bob')
    info.k = [focal, 0.0, 63.5, 0.0, focal, 47.5, 0.0, 0.0, 1.0]
    return info


def make_metres(size_hw=SIZE_HW):
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] * (SIZE_HW[0] / size_hw[0])
    return np.where((x - 40) ** 2 + (y - 48) ** 2 < 15**2, DISC_M, BACKGROUND_M)


def make_depth(metres, stamp_ns, encoding='16UC1', frame_id='camera'):
    values = (metres * 1000).astype('<u2') if encoding == '16UC1' else metres.astype('<f4')
    height, width = values.shape
    msg = Image(height=height, width=width, encoding=encoding, step=values.strides[0])
    msg.data = array.array('B', values.tobytes())
    msg.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    msg.header.frame_id = frame_id
    return msg


def positions(bench):
    return bench.robust_vos._activated.cameras[0].positions


def refuse(bench, metres, *, encoding='16UC1', **options):
    """Show an image and depth that must be refused; return why it was. 2D goes on."""
    before = positions(bench).report().refused
    msg = make_depth(metres, bench.stamp + 33_000_000, **options)
    msg.encoding = encoding
    bench.send_depth(msg)
    assert bench.show().objects[0].area_px > 400
    bench.wait(lambda: positions(bench).report().refused > before, 'the depth to be refused')
    return positions(bench).report().problem


def track(bench, helpers, **options):
    """Track the disc until it is TRACKED, and listen to its pose."""
    bench.show()
    assert bench.add(helpers.make_box_prompt('disc', class_id='plate')).success
    bench.stamp += 1_000_000_000  # longer than tracking.confirm_after_s
    for _ in range(20):
        (item,) = show(bench, make_metres(), **options).objects
        if item.state == item.STATE_TRACKED:
            break
    else:
        raise AssertionError(f'the disc is not TRACKED, but {item.state}')
    return bench.listen(PoseWithCovarianceStamped, '/robust_vos/poses/disc')


def make_cloud(metres, stamp_ns):
    """Organised, as of depth_image_proc; x and y are not read."""
    height, width = metres.shape
    points = np.zeros((height, width, 4), '<f4')
    points[..., 2] = metres
    names = enumerate(['x', 'y', 'z'])
    fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in names]
    msg = PointCloud2(
        height=height, width=width, fields=fields, point_step=16, row_step=16 * width
    )
    msg.header = make_depth(metres, stamp_ns).header
    msg.data = array.array('B', points.tobytes())
    return msg


def show(bench, metres, *, offset_ns=0, make=make_depth, **options):
    """Show the next image and its depth; return what came of it."""
    before = positions(bench).report()
    bench.send_depth(make(metres, bench.stamp + 33_000_000 + offset_ns, **options))
    shown = bench.show()

    def ended(report):
        return report.handled + report.matches.without_depth + report.matches.late

    def done():
        return ended(positions(bench).report()) > ended(before)

    bench.wait(done, 'the end of the work on a result')
    return shown


def test_position_and_header(bench, helpers):
    poses = track(bench, helpers)
    shown = show(bench, make_metres())
    bench.wait(lambda: any(pose.header == shown.header for pose in poses), 'the pose')
    pose = next(pose for pose in poses if pose.header == shown.header).pose
    found = pose.pose.position
    assert np.linalg.norm(np.array([found.x, found.y, found.z]) - TRUTH) < 0.04
    covariance = np.array(pose.covariance).reshape(6, 6)
    assert np.linalg.eigvalsh(covariance[:3, :3]).min() > 0
    assert (np.diag(covariance)[3:] > 9).all()  # nobody knows how it is turned
    assert pose.pose.orientation.w == 1.0


@pytest.mark.parametrize(
    ('size_hw', 'options'),
    [
        (SIZE_HW, {'encoding': '32FC1'}),
        ((48, 64), {}),  # half the resolution
        (SIZE_HW, {'offset_ns': -5_000_000}),  # the depth camera is a little earlier
    ],
)
def test_other_kinds_of_depth(bench, helpers, size_hw, options):
    poses = track(bench, helpers)
    shown = show(bench, make_metres(size_hw), **options)
    if 'offset_ns' in options:  # a nearer one might come until a later one is there
        show(bench, make_metres(size_hw))
    bench.wait(lambda: any(pose.header == shown.header for pose in poses), 'the pose')
    found = next(pose for pose in poses if pose.header == shown.header).pose.pose.position
    assert found.z == pytest.approx(DISC_M, abs=0.02)


@pytest.mark.parametrize(
    ('metres', 'options', 'words'),
    [
        (make_metres((96, 96)), {}, 'another shape'),  # of another camera
        (make_metres(), {'frame_id': 'depth_optical'}, 'register the depth'),
        (make_metres(), {'encoding': 'rgb8'}, "encoding 'rgb8'"),  # the wrong topic
    ],
)
def test_unusable_depth_is_named_and_2d_goes_on(bench, helpers, metres, options, words):
    poses = track(bench, helpers)
    assert words in refuse(bench, metres, **options)

    def status():
        found = [s for report in bench.reports for s in report.status if 'positions' in s.name]
        return next((s for s in found if words in s.message), None)

    assert bench.wait(status, 'the diagnostics').level == DiagnosticStatus.WARN
    tracker = next(s for s in bench.reports[-1].status if s.name.endswith('tracker'))
    assert words not in tracker.message
    good = show(bench, make_metres())
    bench.wait(lambda: any(pose.header == good.header for pose in poses), 'the pose after it')
    assert positions(bench).report().problem == ''


@pytest.mark.parametrize(
    ('metres', 'encoding'),
    [
        (np.zeros(SIZE_HW), '16UC1'),
        (np.full(SIZE_HW, np.nan), '32FC1'),
        (np.full(SIZE_HW, np.inf), '32FC1'),
    ],
)
def test_unknown_depth_gives_no_position_and_no_error(bench, helpers, metres, encoding):
    poses = track(bench, helpers)
    before = positions(bench).report()
    known = len(poses)
    shown = show(bench, metres, encoding=encoding)
    assert shown.objects[0].area_px > 400
    bench.wait(
        lambda: positions(bench).report().without_position == before.without_position + 1,
        'the object without a position to be counted',
    )
    assert positions(bench).report().refused == before.refused
    assert 'none of the 1 visible objects has enough known depth' in (
        positions(bench).report().problem
    )
    good = show(bench, make_metres())
    bench.wait(
        lambda: any(pose.header == good.header for pose in poses[known:]), 'the pose after it'
    )
    assert all(pose.header != shown.header for pose in poses)


def test_depth_of_another_time(bench, helpers):
    track(bench, helpers)
    before = positions(bench).report().matches
    show(bench, make_metres(), offset_ns=25_000_000)  # farther than the tolerance
    bench.wait(
        lambda: positions(bench).report().matches.without_depth == before.without_depth + 1,
        'the result without depth',
    )


def test_an_object_that_is_gone_has_no_topic(bench, helpers):
    track(bench, helpers)
    names = {publisher.topic_name for publisher in bench.robust_vos.publishers}
    assert '/robust_vos/poses/disc' in names
    bench.fresh()
    show(bench, make_metres())
    bench.wait(
        lambda: (
            '/robust_vos/poses/disc'
            not in {publisher.topic_name for publisher in bench.robust_vos.publishers}
        ),
        'the topic to go',
    )


def test_detections_3d(bench, helpers):
    vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is an extra')
    received = bench.listen(vision_msgs.Detection3DArray, '/robust_vos/detections_3d')
    track(bench, helpers)
    shown = show(bench, make_metres())
    array_msg = bench.wait(
        lambda: next((m for m in received if m.header == shown.header), None), 'the detections'
    )
    (detection,) = array_msg.detections
    assert detection.id == 'disc'
    assert detection.header == shown.header
    (result,) = detection.results
    assert result.hypothesis.class_id == 'plate'
    assert result.hypothesis.score == pytest.approx(shown.objects[0].confidence)
    center, size = detection.bbox.center.position, detection.bbox.size
    assert np.linalg.norm(np.array([center.x, center.y, center.z]) - TRUTH) < 0.06
    diameter = 30 / FOCAL * DISC_M
    assert size.x == pytest.approx(diameter, rel=0.25)
    assert size.y == pytest.approx(diameter, rel=0.25)
    assert 0 < size.z < 0.2


def test_points_of_the_masks(bench, helpers):
    received = bench.listen(PointCloud2, '/robust_vos/points')
    track(bench, helpers)
    shown = show(bench, make_metres())
    cloud = bench.wait(
        lambda: next((m for m in received if m.header == shown.header), None), 'the points'
    )
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z', 'rgb', 'label']
    points = np.frombuffer(cloud.data, POINT)
    assert len(points) == cloud.width
    assert len(points) == pytest.approx(shown.objects[0].area_px, rel=0.3)
    assert set(points['label']) == {shown.objects[0].label}
    assert np.abs(points['z'] - DISC_M).max() < 0.01
    assert np.median(points['rgb'] >> 16) > 200  # the disc is yellow


def test_markers(bench, helpers):
    visualization_msgs = pytest.importorskip('visualization_msgs.msg', reason='an extra')
    received = bench.listen(visualization_msgs.MarkerArray, '/robust_vos/markers')
    track(bench, helpers)
    shown = show(bench, make_metres())
    array_msg = bench.wait(
        lambda: next((m for m in received if m.markers[0].header == shown.header), None), 'markers'
    )
    clear, box, text = array_msg.markers
    assert clear.action == clear.DELETEALL
    assert (box.type, text.type, text.text) == (box.CUBE, text.TEXT_VIEW_FACING, 'disc')
    found = box.pose.position
    assert np.linalg.norm(np.array([found.x, found.y, found.z]) - TRUTH) < 0.06
    assert text.pose.position.y < found.y  # above it
    color = label_colors()[shown.objects[0].label] / 255
    np.testing.assert_allclose([box.color.r, box.color.g, box.color.b], color, atol=1e-6)


def test_frames_of_objects_while_they_are_tracked(bench, helpers):
    tf2_msgs = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is an extra')
    received = bench.listen(tf2_msgs.TFMessage, '/tf')
    track(bench, helpers)
    shown = show(bench, make_metres())
    bench.wait(lambda: received and received[-1].transforms[0].header == shown.header, 'the frame')
    for message in received:  # none while it was not yet TRACKED
        (frame,) = message.transforms
        assert frame.child_frame_id == 'object/disc'
        found = frame.transform.translation
        assert np.linalg.norm(np.array([found.x, found.y, found.z]) - TRUTH) < 0.04
    tracked = [m for m in bench.objects if m.objects and m.objects[0].state == 1]
    assert len(received) <= len(tracked)


def test_organised_clouds_in_place_of_depth(make_bench, helpers):
    bench = make_bench({**SPATIAL, 'spatial.source': 'cloud'})
    connect(bench, PointCloud2, '/depth/points')
    bench.send_info(make_info())
    bench.wait(lambda: bench.robust_vos._configured.cameras[0].outputs.infos.newest, 'camera_info')
    poses = track(bench, helpers, make=make_cloud)
    shown = show(bench, make_metres(), make=make_cloud)
    bench.wait(lambda: any(pose.header == shown.header for pose in poses), 'the pose')
    found = next(pose for pose in poses if pose.header == shown.header).pose.pose.position
    assert np.linalg.norm(np.array([found.x, found.y, found.z]) - TRUTH) < 0.04


def test_target_frame_through_tf2(make_bench, helpers):
    tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is no part of a minimal ROS')
    bench = make_bench({**SPATIAL, 'spatial.target_frame': 'map'})
    connect(bench)
    bench.send_info(make_info())
    bench.wait(lambda: bench.robust_vos._configured.cameras[0].outputs.infos.newest, 'camera_info')
    bench.show()
    assert bench.add(helpers.make_box_prompt('disc')).success
    assert "to 'map'" in refuse(bench, make_metres())  # nobody has published it
    poses = bench.listen(PoseWithCovarianceStamped, '/robust_vos/poses/disc')
    half = np.sqrt(0.5)
    known = TransformStamped(child_frame_id='camera')
    known.header.frame_id = 'map'
    known.transform.translation.x = 10.0
    known.transform.rotation.z = known.transform.rotation.w = half
    tf2_ros.StaticTransformBroadcaster(bench.node).sendTransform(known)
    bench.stamp += 1_000_000_000
    for _ in range(20):
        show(bench, make_metres())
        if poses:
            break
    pose = bench.wait(lambda: poses and poses[-1], 'a pose')
    assert pose.header.frame_id == 'map'
    found = pose.pose.pose.position
    expected = np.array([10 - TRUTH[1], TRUTH[0], TRUTH[2]])  # a quarter turn about z
    assert np.linalg.norm(np.array([found.x, found.y, found.z]) - expected) < 0.04


@pytest.mark.skipif(importlib.util.find_spec('tf2_ros') is not None, reason='tf2_ros is installed')
def test_target_frame_without_tf2_is_told_and_positions_are_in_the_frame_of_the_image(
    make_bench, helpers
):
    bench = make_bench({**SPATIAL, 'spatial.target_frame': 'map'})
    connect(bench)
    bench.send_info(make_info())
    bench.wait(lambda: bench.robust_vos._configured.cameras[0].outputs.infos.newest, 'camera_info')
    poses = track(bench, helpers)
    shown = show(bench, make_metres())
    bench.wait(lambda: any(pose.header == shown.header for pose in poses), 'the pose')

    def warned():
        statuses = [status for report in bench.reports for status in report.status]
        return any('tf2_ros is not installed' in status.message for status in statuses)

    bench.wait(warned, 'the warning')


def test_a_node_without_depth_says_so_and_tracks(make_bench, helpers):
    bench = make_bench({'spatial.enabled': True, 'spatial.max_wait_s': 1.0})
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    bench.show()
    bench.add(helpers.make_box_prompt())
    assert bench.show().objects[0].area_px > 400
    bench.wait(
        lambda: any(
            status.message == 'no depth received since activation'
            for report in reports
            for status in report.status
        ),
        'the warning',
    )
    # Then depth comes, but no camera_info that is of any use.
    connect(bench)
    none = 'no camera_info for an image of 128 x 96'
    assert none in refuse(bench, make_metres())
    bench.send_info(make_info(focal=0.0))
    cameras = bench.robust_vos._configured.cameras[0].outputs.infos
    bench.wait(lambda: cameras.counts.refused, 'camera_info with K = 0')
    assert 'refused: camera_info without calibration' in refuse(bench, make_metres())
    bench.send_info(make_info((48, 64)))
    bench.wait(lambda: cameras.newest is not None, 'camera_info of another resolution')
    assert none in refuse(bench, make_metres())


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({}, 'locating'),
        ({'recent_lost': 16}, '16 of the newest 30 results have no depth within 0.02 s'),
        ({'matched': 0}, 'locating'),  # what was long ago does not count
    ],
)
def test_stamps_that_are_apart_show_soon_and_heal_soon(changes, words):
    from robust_vos_ros.node.camera_info import CameraInfoCounts
    from robust_vos_ros.node.depth_matcher import MatchCounts
    from robust_vos_ros.node.position_diagnostics import judge_positions
    from robust_vos_ros.node.positions import PositionReport
    from robust_vos_ros.node.settings import NodeSettings

    values = {'results': 10_000, 'matched': 9_000, 'without_depth': 1_000, 'recent': 30, **changes}
    report = PositionReport(
        matches=MatchCounts(**values), camera=CameraInfoCounts(), handled=9_000, published=9_000,
        refused=0, without_position=0, problem='', since_depth_s=0.1, times_ms=np.zeros(1),
    )  # fmt: skip
    _, message = judge_positions(report, NodeSettings())
    assert words in message


@pytest.mark.parametrize(
    ('object_id', 'token'),
    [
        ('cup', 'cup'),
        ('left cup #2', 'left_cup_2'),
        ('2nd', 'object_2nd'),  # a token must not begin with a digit
        ('tasse à café', 'tasse_caf'),
        ('***', 'object'),
        ('a__b_', 'a_b'),  # double and last underscores are not allowed either
    ],
)
def test_names_of_topics(object_id, token):
    from robust_vos_ros.node.position_publishers import topic_token

    assert topic_token(object_id) == token


def test_a_rigid_transform_turns_position_covariance_and_box():
    from robust_vos_ros.spatial.locate import Located
    from robust_vos_ros.spatial.rigid import Rigid

    half = np.sqrt(0.5)
    quarter_about_z = Rigid(np.array([0.0, 0.0, half, half]), np.array([10.0, 0.0, 0.0]))
    located = Located(
        np.array([1.0, 0.0, 2.0]), np.diag([1.0, 4.0, 9.0]), np.array([1.0, 0.0, 3.0]),
        np.array([0.1, 0.2, 0.3]), 10, 1.0, (1.9, 2.1),
    )  # fmt: skip
    found = quarter_about_z.apply(located)
    np.testing.assert_allclose(found.position, [10, 1, 2], atol=1e-12)
    np.testing.assert_allclose(found.box_center, [10, 1, 3], atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.diag([4.0, 1.0, 9.0]), atol=1e-12)
    np.testing.assert_allclose(found.box_size, located.box_size)


def test_transforms_come_from_tf2_with_a_timeout(monkeypatch):
    """With a stand-in: tf2_ros is not among the packages that tests can count on."""
    from robust_vos_ros.node import transforms

    class TransformException(Exception):  # noqa: N818  its name in tf2_ros
        pass

    class Buffer:
        def lookup_transform(self, target, source, stamp, timeout):  # noqa: ARG002  as tf2_ros has it
            assert timeout.nanoseconds == 250_000_000
            if target == 'nowhere':
                raise TransformException('not connected')
            rotation = types.SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
            translation = types.SimpleNamespace(x=1.0, y=2.0, z=3.0)
            inner = types.SimpleNamespace(rotation=rotation, translation=translation)
            return types.SimpleNamespace(transform=inner)

    stand_in = types.SimpleNamespace(
        Buffer=Buffer,
        TransformListener=lambda *args, **options: types.SimpleNamespace(unregister=lambda: None),
        TransformException=TransformException,
    )
    monkeypatch.setattr(transforms, 'tf2_ros', stand_in)
    found = transforms.listen(None)
    rigid = found.lookup('map', 'camera', 1_000_000_000, timeout_s=0.25)
    np.testing.assert_allclose(rigid.translation, [1, 2, 3])
    with pytest.raises(transforms.TransformError, match="to 'nowhere': not connected"):
        found.lookup('nowhere', 'camera', 1_000_000_000, timeout_s=0.25)
    found.destroy()
