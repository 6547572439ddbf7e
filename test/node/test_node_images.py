"""A real node over real DDS: every output, and images no camera should send."""

import array
import re

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robust_vos.msg import TrackedObjectArray
from sensor_msgs.msg import CompressedImage, Image

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.types import EventType
from robust_vos_ros.data.corruption import corrupt_live

pytestmark = pytest.mark.ros


def pixels_of(msg, channels=1):
    shape = (msg.height, msg.width, channels) if channels > 1 else (msg.height, msg.width)
    return np.frombuffer(msg.data, np.uint8).reshape(shape)


def test_every_output_has_the_header_of_its_image(bench, helpers):
    topics = {
        'label_mask': Image,
        'label_mask/compressed': CompressedImage,
        'confidence_mask': Image,
        'overlay': Image,
    }
    received = {name: bench.listen(kind, f'/robust_vos/{name}') for name, kind in topics.items()}
    bench.show()
    bench.add(helpers.make_box_prompt())
    objects = bench.show(frame_id='head_camera_optical')
    bench.wait(
        lambda: all(msgs and msgs[-1].header == objects.header for msgs in received.values()),
        'every image output',
    )
    mask, png, confidence, overlay = (received[name][-1] for name in topics)
    (item,) = objects.objects
    labels = pixels_of(mask)
    assert (mask.encoding, objects.height, objects.width) == ('mono8', *labels.shape)
    assert np.count_nonzero(labels == item.label) == item.area_px > 400
    rows, columns = np.nonzero(labels)
    roi = item.roi
    assert (roi.x_offset, roi.y_offset) == (columns.min(), rows.min())
    assert (roi.width, roi.height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert png.format == 'mono8; png compressed '
    decoded = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, labels)
    expected = np.where(labels > 0, round(255 * item.confidence), 0)
    np.testing.assert_array_equal(pixels_of(confidence), expected)
    assert overlay.encoding == 'rgb8'
    assert np.abs(pixels_of(overlay, 3).astype(int) - helpers.make_rgb()).max() > 50


def test_times_in_the_message(bench):
    msg = bench.show()
    latency_ns = msg.latency.sec * 10**9 + msg.latency.nanosec
    engine_ns = msg.engine_time.sec * 10**9 + msg.engine_time.nanosec
    assert 0 < engine_ns < latency_ns < 10**10


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')  # pycocotools
def test_run_lengths_on_request(bench, helpers):
    from pycocotools import mask as coco_mask
    from rclpy.parameter import Parameter

    bench.show()
    bench.add(helpers.make_box_prompt())
    assert len(bench.show().objects[0].rle) == 0
    rle = [Parameter('publish.rle', value=True)]
    assert bench.on_node(lambda: bench.robust_vos.set_parameters(rle))[0].successful
    msg = bench.show()
    (item,) = msg.objects
    counts = {'size': [msg.height, msg.width], 'counts': bytes(item.rle)}
    assert coco_mask.decode(counts).sum() == item.area_px
    bench.on_node(lambda: bench.robust_vos.set_parameters([Parameter('publish.rle', value=False)]))


@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'rgba8', 'yuv422'])
def test_encodings_over_dds(bench, helpers, encoding):
    rgb = helpers.make_rgb()
    rows = {
        'bgr8': rgb[..., ::-1],
        'mono8': rgb[..., 0],
        'rgba8': np.concatenate([rgb, rgb[..., :1]], axis=-1),
        'yuv422': np.ascontiguousarray(rgb[..., :2]),
    }[encoding]
    msg = helpers.make_image(bench.next_stamp(), np.ascontiguousarray(rows), encoding=encoding)
    assert bench.process(msg).objects == []


def spoil(msg, **fields):
    for name, value in fields.items():
        setattr(msg, name, value)


@pytest.mark.parametrize(
    'fields',
    [
        {'encoding': 'yuv999'},
        {'encoding': '32FC1'},  # a depth image on the wrong topic
        {'step': 0},
        {'step': 383},
        {'height': 97},  # buffer too short
        {'height': 0},
        {'width': 0},
        {'data': array.array('B')},
        {'encoding': 'rgba8'},  # needs more than there is
    ],
    ids=str,
)
def test_bad_images_are_counted_and_tracking_goes_on(bench, helpers, fields):
    bench.show()
    bench.add(helpers.make_box_prompt())
    before = bench.counts
    known = len(bench.objects)
    msg = helpers.make_image(bench.next_stamp())
    spoil(msg, **fields)
    bench.publish(msg)
    bench.wait(lambda: bench.counts.invalid == before.invalid + 1, 'the image to be counted')
    assert len(bench.objects) == known
    (item,) = bench.show().objects
    assert item.area_px > 400
    after = bench.counts
    assert after.received == before.received + 2
    assert after.processed == before.processed + 1
    assert after.failed == before.failed


def test_longer_buffer_is_accepted(bench, helpers):
    msg = helpers.make_image(bench.next_stamp())
    msg.data.extend(b'tail')
    bench.process(msg)


def test_padded_rows(bench, helpers):
    bench.show()
    bench.add(helpers.make_box_prompt())
    plain = bench.show().objects[0]
    msg = helpers.make_image(bench.next_stamp())
    padded = np.zeros((96, 400), np.uint8)
    padded[:, :384] = helpers.make_rgb().reshape(96, 384)
    msg.step, msg.data = 400, array.array('B', padded.tobytes())
    item = bench.process(msg).objects[0]
    assert abs(item.area_px - plain.area_px) < 40
    assert abs(item.centroid.x - plain.centroid.x) < 2


@pytest.mark.parametrize('size_hw', [(1, 1), (2, 2000), (2000, 2)])
def test_extreme_shapes(bench, helpers, size_hw):
    bench.show()
    bench.add(helpers.make_box_prompt())
    rgb = np.zeros((*size_hw, 3), np.uint8)
    msg = bench.process(helpers.make_image(bench.next_stamp(), rgb))
    assert (msg.height, msg.width) == size_hw
    assert bench.counts.failed == 0


def test_uniform_images(bench, helpers):
    """A covered lens: no mask of the whole image may come out, and the object may come back."""
    bench.show()
    bench.add(helpers.make_box_prompt())
    for value in (0, 255):
        for _ in range(5):
            msg = bench.show(np.full((96, 128, 3), value, np.uint8))
        assert msg.objects[0].area_px < 0.95 * 96 * 128
    assert bench.counts.failed == 0


def test_stamp_zero_and_empty_frame_id(bench, helpers):
    msg = helpers.make_image(0, frame_id='')
    assert bench.process(msg).header == msg.header


@pytest.fixture(scope='module')
def compressed_bench(make_bench):
    bench = make_bench({'input.transport': 'compressed'}, start=False)
    bench.on_node(bench.robust_vos.start)
    bench.objects = bench.listen(TrackedObjectArray, '/robust_vos/objects')
    bench.publish = bench.talk(CompressedImage, '/image/compressed')
    return bench


def make_jpeg(helpers, bench):
    ok, data = cv2.imencode('.jpg', helpers.make_rgb()[..., ::-1])
    assert ok
    msg = CompressedImage(format='rgb8; jpeg compressed bgr8')
    msg.data = array.array('B', data.tobytes())
    msg.header = helpers.make_image(bench.next_stamp()).header
    return msg


def test_compressed_input(compressed_bench, helpers):
    bench = compressed_bench
    first = make_jpeg(helpers, bench)
    bench.process(first)
    assert bench.add(helpers.make_box_prompt()).success
    bench.process(make_jpeg(helpers, bench))
    # A past image is kept compressed, and decoded when a prompt asks for it.
    answer = bench.add(
        helpers.make_point_prompt('past', (40, 48)), stamp=helpers.stamp_ns(first.header)
    )
    assert answer.success, answer.message
    assert answer.applied_stamp == first.header.stamp


@pytest.mark.parametrize('damage', ['cut', 'garbage', 'empty'])
def test_damaged_compressed_input(compressed_bench, helpers, damage):
    bench = compressed_bench
    before = bench.counts
    msg = make_jpeg(helpers, bench)
    msg.data = {
        'cut': msg.data[: len(msg.data) // 2],
        'garbage': array.array('B', b'\xff\xd8' + bytes(range(256)) + b'\xff\xd9'),
        'empty': array.array('B'),
    }[damage]
    bench.publish(msg)
    bench.wait(lambda: bench.counts.invalid == before.invalid + 1, 'the image to be counted')
    bench.process(make_jpeg(helpers, bench))
    assert bench.counts.processed == before.processed + 1
    assert bench.failures == []


def test_images_can_be_spoilt_for_a_demonstration(bench, helpers):
    """The corruption reaches the tracker and the overlay, may change at any time, and ends."""
    from rclpy.parameter import Parameter

    def spoil(name):
        change = [
            Parameter('debug.corruption', value=name),
            Parameter('debug.severity', value=4.0),
        ]
        return bench.on_node(lambda: bench.robust_vos.set_parameters_atomically(change))

    def shown(received, msg):
        return bench.wait(
            lambda: next((m for m in received if m.header == msg.header), None), 'the overlay'
        )

    overlays = bench.listen(Image, '/robust_vos/overlay')
    assert not spoil('hail').successful
    assert spoil('fog').successful
    rgb = helpers.make_rgb()
    foggy = shown(overlays, bench.show(rgb))
    expected = corrupt_live(rgb, 'fog', 4.0, bench.stamp)
    assert bytes(foggy.data) == expected.tobytes()
    bench.add(helpers.make_box_prompt())
    assert len(bench.show(rgb).objects) == 1
    assert spoil('none').successful
    bench.fresh()
    clear = shown(overlays, bench.show(rgb))
    assert bytes(clear.data) == rgb.tobytes()


def test_adapters_change_while_tracks_go_on(bench, helpers, tmp_path):
    from rclpy.parameter import Parameter

    def use(name):
        change = [Parameter('model.adapter', value=str(name))]
        return bench.on_node(lambda: bench.robust_vos.set_parameters_atomically(change))

    model = bench.robust_vos._configured.model
    adapter = adapters.make_adapter(model, AdapterSettings(rank=4, layer_norms='none'))
    own, other = tmp_path / 'own.safetensors', tmp_path / 'other.safetensors'
    for path, name in ((own, model.name), (other, 'sam2.1_hiera_tiny')):
        header = {'model': name, 'weights_sha256': model.weights_hash}
        adapters.save_adapter(path, adapter.state_dict(), {}, adapter.settings, **header)

    assert use('none').successful
    bench.show()
    bench.add(helpers.make_box_prompt())
    (before,) = bench.show().objects
    assert np.isnan(before.gate_activity)
    assert use(own).successful
    (after,) = bench.show().objects
    assert 0.0 <= after.gate_activity <= 1.0
    assert after.uuid == before.uuid
    for wrong, words in ((other, 'got one of sam2.1_hiera_tiny'), ('nothing', "got 'nothing'")):
        refused = use(wrong)
        assert not refused.successful
        assert words in refused.reason
    (same,) = bench.show().objects
    assert same.gate_activity == pytest.approx(after.gate_activity, abs=0.3)
    assert use('auto').successful
    assert bench.show().objects[0].uuid == before.uuid


def test_diagnostics(bench, helpers):
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    bench.show()
    bench.add(helpers.make_box_prompt())
    bench.show()

    def status(level, words):
        return next(
            (
                item
                for report in reports
                for item in report.status
                if item.level == level and words in item.message
            ),
            None,
        )

    bad = helpers.make_image(bench.next_stamp())
    bad.step = 1
    bench.publish(bad)
    rejected = bench.wait(
        lambda: status(DiagnosticStatus.WARN, 'image rejected: step is 1'), 'the warning'
    )
    values = {item.key: item.value for item in rejected.values}
    assert rejected.name == 'robust_vos: tracker'
    assert rejected.hardware_id == 'cpu'
    assert values['model'] == 'nano'
    assert values['lifecycle state'] == 'active'
    assert len(values['weights hash']) >= 8
    assert values['adapter'] == 'nano_weather'
    assert re.fullmatch(r'\d+\.\d+\.\d+', values['version'])
    assert int(values['frames received']) == bench.counts.received
    assert int(values['frames invalid']) == bench.counts.invalid
    assert int(values['objects initializing']) == 1
    assert float(values['latency p95 (ms)']) >= float(values['latency p50 (ms)']) > 0
    assert 'step is 1' in values['last error']
    bench.wait(lambda: status(DiagnosticStatus.STALE, 'no image received for'), 'the stale report')


def test_events_of_the_message_and_the_engine_have_equal_values():
    from robust_vos.msg import TrackedObject, TrackEvent

    from robust_vos_ros.core.types import ObjectFlag, ObjectState

    for event in EventType:
        assert getattr(TrackEvent, event.name) == event
    for state in ObjectState:
        assert getattr(TrackedObject, f'STATE_{state.name}') == state
    for flag in ObjectFlag:
        assert getattr(TrackedObject, f'FLAG_{flag.name}') == flag
