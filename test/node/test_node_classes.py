"""Class mask and camera_info of a real node over real DDS."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros
CLASS_MASK = '/robust_vos/class_mask'


def newest(bench, received, shown, what):
    """The message under the header of the objects that were shown."""
    return bench.wait(lambda: next((m for m in received if m.header == shown.header), None), what)


def pixels_of(msg):
    return np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width)


def make_info(size_hw=(96, 128), focal=120.0, **fields):
    height, width = size_hw
    info = CameraInfo(height=height, width=width, distortion_model='plumb_bob', **fields)
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    return info


def test_two_objects_of_one_class_share_a_value(bench, helpers):
    masks = bench.listen(Image, CLASS_MASK)
    pngs = bench.listen(CompressedImage, f'{CLASS_MASK}/compressed')
    rgb = helpers.make_rgb()
    y, x = np.mgrid[:96, :128]
    rgb[(x - 100) ** 2 + (y - 48) ** 2 < 14**2] = (230, 200, 40)
    bench.show(rgb)
    answer = bench.add(
        helpers.make_box_prompt('a', class_id='plate'),
        helpers.make_box_prompt('b', x=85, class_id='plate'),
    )
    assert answer.success
    shown = bench.show(rgb)
    assert all(item.area_px > 200 for item in shown.objects)
    mask = newest(bench, masks, shown, 'the class mask')
    assert mask.encoding == 'mono8'
    values = np.unique(pixels_of(mask))
    assert len(values) == 2
    assert values[0] == 0
    assert np.count_nonzero(pixels_of(mask)) == sum(item.area_px for item in shown.objects)
    png = newest(bench, pngs, shown, 'its PNG')
    assert png.format == 'mono8; png compressed '
    decoded = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, pixels_of(mask))


def test_values_outlive_objects_and_resets(bench, helpers):
    masks = bench.listen(Image, CLASS_MASK)

    def value_of(class_id):
        bench.show()
        prompt = helpers.make_box_prompt('disc', class_id=class_id)
        assert bench.add(prompt, replace=True).success
        mask = newest(bench, masks, bench.show(), 'the class mask')
        return int(pixels_of(mask).max())

    first, second = value_of('first'), value_of('second')
    assert first != second
    assert bench.call(Trigger, '/robust_vos/reset').success
    assert value_of('second') == second
    assert value_of('first') == first
    assert value_of('') == 255


@pytest.fixture(scope='module')
def given(make_bench, tmp_path_factory):
    """A node with given classes and a value for the unknown."""
    values = {'classes': ['car', 'plate'], 'class_info.unknown_value': 100}
    return make_bench(values)


@pytest.mark.parametrize(('class_id', 'value'), [('plate', 2), ('car', 1), ('dog', 100)])
def test_given_classes(given, helpers, class_id, value):
    masks = given.listen(Image, CLASS_MASK)
    given.fresh()
    given.show()
    given.add(helpers.make_box_prompt('disc', class_id=class_id))
    mask = newest(given, masks, given.show(), 'the class mask')
    assert np.unique(pixels_of(mask)).tolist() == [0, value]


def test_class_info_is_latched_and_named(make_bench, helpers):
    vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is an extra')
    bench = make_bench(
        {'classes': ['car', 'plate'], 'class_info.background_name': 'ground',
         'class_info.unknown_name': 'thing'}
    )  # fmt: skip
    bench.show()
    received = []
    latched = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    bench.node.create_subscription(
        vision_msgs.LabelInfo, '/robust_vos/class_info', received.append, latched
    )
    bench.wait(lambda: received, 'the class info of before')
    names = {item.class_id: item.class_name for item in received[-1].class_map}
    assert names == {0: 'ground', 1: 'car', 2: 'plate', 255: 'thing'}


def test_values_are_kept_in_the_state_file(make_bench, helpers, tmp_path):
    bench = make_bench({'state_file': str(tmp_path / 'tracks')})
    masks = bench.listen(Image, CLASS_MASK)

    def change(*names):
        for name in names:
            transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
            answer = bench.call(ChangeState, '/robust_vos/change_state', transition=transition)
            assert answer.success

    bench.show()
    for class_id in ('first', 'second'):
        bench.add(helpers.make_box_prompt('disc', class_id=class_id), replace=True)
        bench.show()
    bench.fresh()
    change('DEACTIVATE', 'CLEANUP', 'CONFIGURE', 'ACTIVATE')
    bench.wait_for_input()
    bench.show()
    bench.add(helpers.make_box_prompt('disc', class_id='second'))
    shown = bench.show()
    mask = newest(bench, masks, shown, 'the class mask')
    assert np.unique(pixels_of(mask)).tolist() == [0, 2]


def values_of(bench, reports):
    reports.clear()
    bench.wait(lambda: reports, 'diagnostics')
    return {item.key: item.value for item in reports[-1].status[0].values}


def test_camera_info_has_the_header_of_every_result(bench, helpers):
    infos = bench.listen(CameraInfo, '/robust_vos/camera_info')
    publish = bench.talk(CameraInfo, '/camera_info')
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    before = bench.robust_vos._configured.cameras[0].outputs.infos.counts
    publish(make_info(focal=111.0))
    bench.wait(lambda: cameras(bench).counts.received > before.received, 'the message')
    shown = bench.show(frame_id='head')
    info = newest(bench, infos, shown, 'camera_info')
    assert info.k[0] == 111.0
    assert (info.height, info.width) == (shown.height, shown.width)
    assert values_of(bench, reports)['camera_info problem'] == ''


def cameras(bench):
    return bench.robust_vos._configured.cameras[0].outputs.infos


@pytest.mark.parametrize(
    ('info', 'words'),
    [
        (make_info(focal=0.0), 'without calibration'),  # as uncalibrated drivers send it
        (make_info(focal=float('nan')), 'without calibration'),
        (make_info((0, 0)), 'must say its size'),
        (make_info(binning_x=2), 'binning'),  # K is of the full image
        (make_info(d=[0.1, float('inf'), 0.0, 0.0, 0.0]), 'coefficients'),
    ],
)
def test_unusable_camera_info_is_counted_and_the_last_good_one_stays(bench, info, words):
    infos = bench.listen(CameraInfo, '/robust_vos/camera_info')
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    publish = bench.talk(CameraInfo, '/camera_info')
    before = cameras(bench).counts
    publish(make_info(focal=99.0))
    bench.wait(lambda: cameras(bench).counts.received > before.received, 'the good message')
    publish(info)
    bench.wait(lambda: cameras(bench).counts.refused > before.refused, 'the bad message')
    assert newest(bench, infos, bench.show(), 'camera_info').k[0] == 99.0
    assert words in values_of(bench, reports)['camera_info problem']


def test_camera_info_of_another_resolution_is_not_published(bench):
    infos = bench.listen(CameraInfo, '/robust_vos/camera_info')
    publish = bench.talk(CameraInfo, '/camera_info')
    before = cameras(bench).counts
    publish(make_info((480, 640)))
    bench.wait(lambda: cameras(bench).counts.received > before.received, 'the message')
    infos.clear()
    shown = bench.show()
    assert cameras(bench).counts.mismatched == before.mismatched + 1
    assert '640 x 480' in cameras(bench).counts.problem
    assert all(info.header != shown.header for info in infos)
