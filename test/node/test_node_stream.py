"""A real node over real DDS: fast cameras, time that jumps, cameras that change, clicks."""

import time

import pytest

pytest.importorskip('rclpy')
from geometry_msgs.msg import Point, PointStamped
from rclpy.parameter import Parameter
from rclpy.qos import QoSReliabilityPolicy
from robust_vos.msg import ErrorCode, TrackEvent
from rosgraph_msgs.msg import Clock

pytestmark = pytest.mark.ros

RELIABLE = ['-p', 'qos_overrides./image.subscription.reliability:=reliable']


def settle(bench):
    """Wait until every published image has met its fate."""

    def idle():
        counts = bench.pipeline.lane.counts
        done = bench.counts
        ended = done.processed + done.stale + done.ignored + done.invalid + done.failed
        return counts.pending == 0 and ended + counts.dropped == done.received

    bench.wait(idle, 'the node to become idle')


def test_fast_camera(make_bench, helpers):
    """At 200 Hz the newest image wins, and every image is accounted for."""
    bench = make_bench({'model.num_threads': 1}, RELIABLE)
    publish = bench.publish
    bench.show()
    bench.add(*(helpers.make_box_prompt(f'object {number}') for number in range(6)))
    num_images = 200
    images = [helpers.make_image(bench.next_stamp()) for _ in range(num_images)]
    received = bench.counts.received
    start = time.monotonic()
    for number, image in enumerate(images):
        publish(image)
        bench.executor.spin_once(timeout_sec=0)
        while time.monotonic() < start + number / 200:
            bench.executor.spin_once(timeout_sec=0.001)
    bench.wait(lambda: bench.objects[-1].header == images[-1].header, 'the newest image')
    settle(bench)
    counts, mailbox = bench.counts, bench.pipeline.lane.counts
    # Reliable, but of a small depth: what the node could not take in time was replaced in DDS.
    assert received < counts.received <= received + num_images
    assert counts.received == counts.processed + mailbox.dropped
    assert mailbox.dropped > 0
    stamps = [helpers.stamp_ns(msg.header) for msg in bench.objects]
    assert stamps == sorted(set(stamps))
    last = bench.objects[-1]
    assert last.frames_dropped == mailbox.dropped
    assert len(last.objects) == 6
    # The latency stays that of one or two frames: nothing piles up.
    for msg in bench.objects[-5:]:
        assert msg.latency.sec < 2
    assert bench.failures == []


def test_qos_overrides(make_bench):
    bench = make_bench({}, RELIABLE)
    (info,) = bench.node.get_subscriptions_info_by_topic('/image')
    assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def set_values(bench, **values):
    parameters = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
    for result in bench.on_node(lambda: bench.robust_vos.set_parameters(parameters)):
        assert result.successful, result.reason


@pytest.fixture
def tracking(bench, helpers):
    """The shared node with one object."""
    for _ in range(3):
        bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    bench.show()
    bench.events.clear()
    return bench


@pytest.mark.parametrize('policy', ['keep', 'reset_memory', 'remove_objects'])
@pytest.mark.parametrize('change', ['time', 'size', 'frame_id'])
def test_policies(tracking, helpers, change, policy):
    bench = tracking
    name, counter = {
        'time': ('on_time_jump', 'time_jumps'),
        'size': ('on_resolution_change', 'resolution_changes'),
        'frame_id': ('on_frame_id_change', 'frame_id_changes'),
    }[change]
    default = getattr(bench.robust_vos.settings, name)
    set_values(bench, **{name: policy})
    before = getattr(bench.counts, counter)
    uuid = bench.objects[-1].objects[0].uuid
    if change == 'time':
        bench.stamp -= 10**9
    options = {'frame_id': 'other'} if change == 'frame_id' else {}
    rgb = helpers.make_rgb(size_hw=(120, 160)) if change == 'size' else None
    msg = bench.show(rgb, **options)
    for _ in range(3):
        msg = bench.show(rgb, **options)
    assert getattr(bench.counts, counter) == before + 1
    if policy == 'remove_objects':
        assert msg.objects == []
        bench.wait(lambda: len(bench.events) == 2)
        assert [event.type for event in bench.events] == [TrackEvent.REMOVED, TrackEvent.RESET]
    else:
        assert [item.uuid for item in msg.objects] == [uuid]
    assert bench.counts.failed == 0
    set_values(bench, **{name: default})


def test_prompts_after_a_time_jump_mean_the_new_time(tracking, helpers):
    bench = tracking
    old = bench.show()
    bench.stamp -= 10**9
    new = bench.show()
    refused = bench.add(helpers.make_box_prompt('old'), stamp=helpers.stamp_ns(old.header))
    assert refused.error_code == ErrorCode.STAMP_IN_FUTURE
    assert bench.add(helpers.make_box_prompt('new'), stamp=helpers.stamp_ns(new.header)).success


def test_equal_stamps_are_processed(tracking):
    bench = tracking
    first = bench.show()
    processed, jumps = bench.counts.processed, bench.counts.time_jumps
    bench.stamp -= 33_000_000  # so that the next stamp repeats the last one
    second = bench.show()
    assert second.header == first.header
    assert second.frame_index == first.frame_index + 1
    assert bench.counts.processed == processed + 1
    assert bench.counts.time_jumps == jumps
    assert len(second.objects) == 1


def test_small_steps_back_are_no_jump(tracking):
    bench = tracking
    jumps = bench.counts.time_jumps
    bench.stamp -= 150_000_000
    assert len(bench.show().objects) == 1
    assert bench.counts.time_jumps == jumps


def test_clock_going_backwards(make_bench, helpers):
    """With use_sim_time a bag that starts again shows in /clock, perhaps before the images."""
    bench = make_bench({'use_sim_time': True, 'on_time_jump': 'remove_objects'})
    tick = bench.talk(Clock, '/clock')
    clock = Clock()

    def set_clock(seconds):
        clock.clock.sec = seconds
        tick(clock)
        bench.wait(
            lambda: bench.robust_vos.get_clock().now().nanoseconds == seconds * 10**9, 'the clock'
        )

    set_clock(100)
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    assert len(bench.show().objects) == 1
    set_clock(50)
    assert bench.show().objects == []  # its own stamp did not go back
    assert bench.counts.time_jumps == 1
    assert bench.add(helpers.make_box_prompt()).success  # timeouts do not need the ROS clock


def test_stale_frames_are_dropped(make_bench, helpers):
    bench = make_bench({'input.max_frame_age_s': 5.0})
    now = time.time_ns()
    fresh = helpers.make_image(now)
    assert bench.process(fresh).frames_dropped == 0
    bench.publish(helpers.make_image(now - 60 * 10**9))
    bench.wait(lambda: bench.counts.stale == 1, 'the stale frame to be counted')
    assert bench.process(helpers.make_image(now + 10**7)).frames_dropped == 1


def test_dynamic_thresholds_reach_the_tracker(tracking):
    bench = tracking
    default = bench.robust_vos.settings.tracking.max_coverage
    set_values(bench, tracking__max_coverage=0.5)
    bench.show()
    assert bench.pipeline._tracker.settings.max_coverage == 0.5
    set_values(bench, tracking__max_coverage=default)


def test_structural_parameters_are_frozen_while_active(bench):
    parameters = [Parameter('model.name', value='other')]
    (result,) = bench.on_node(lambda: bench.robust_vos.set_parameters(parameters))
    assert not result.successful
    assert 'only change while the node is unconfigured' in result.reason


def test_clicks(bench):
    bench.show()
    click = bench.talk(PointStamped, '/clicked_point')
    mouse = bench.talk(Point, '/image_mouse_left')
    for publish, msg, names in (
        (click, PointStamped(point=Point(x=40.0, y=48.0)), {'click_1'}),
        (mouse, Point(x=100.0, y=20.0), {'click_1', 'click_2'}),
    ):
        publish(msg)
        bench.wait(
            lambda names=names: {item.object_id for item in bench.show().objects} == names,
            'the clicked object',
        )
    failed = bench.counts.requests_failed
    mouse(Point(x=-5.0, y=20.0))
    mouse(Point(x=float('nan'), y=20.0))
    bench.wait(lambda: bench.counts.requests_failed == failed + 2, 'refused clicks to be counted')
    assert len(bench.show().objects) == 2


@pytest.mark.parametrize('frame_id', ['camera', ''])  # by hand: the image is meant
def test_clicked_points_of_the_image_are_pixels(bench, frame_id):
    bench.show()
    click = bench.talk(PointStamped, '/clicked_point')
    msg = PointStamped(point=Point(x=40.0, y=48.0))
    msg.header.frame_id = frame_id
    click(msg)
    bench.wait(lambda: bench.show().objects, 'the clicked object')


@pytest.mark.parametrize(
    ('stamp_s', 'x', 'found_at'),
    [
        (None, 40.0, 72),  # of the first image: the disc has moved on since
        (10**6, 72.0, 72),  # later than all images: the time of the click
    ],
)
def test_a_click_goes_to_the_image_of_its_stamp(bench, helpers, stamp_s, x, found_at):
    first = bench.show(helpers.make_rgb())
    for shift in (8, 16, 24, 32):
        bench.show(helpers.make_rgb(shift))
    click = bench.talk(PointStamped, '/clicked_point')
    msg = PointStamped(header=first.header, point=Point(x=x, y=48.0))
    if stamp_s is not None:
        msg.header.stamp.sec = stamp_s
    click(msg)
    (item,) = bench.wait(lambda: bench.show(helpers.make_rgb(32)).objects, 'the object')
    assert abs(item.centroid.x - found_at) < 5


def test_a_failing_engine_does_not_end_the_node(tracking, helpers, monkeypatch):
    """As when the device runs out of memory."""
    import torch

    bench = tracking
    tracker = bench.pipeline._tracker
    failed, known = bench.counts.failed, len(bench.objects)

    def fail(frame):
        raise torch.OutOfMemoryError('CUDA out of memory')

    with monkeypatch.context() as patch:
        patch.setattr(tracker, 'step', fail)
        bench.publish(helpers.make_image(bench.next_stamp()))
        bench.wait(lambda: bench.counts.failed == failed + 1, 'the failure to be counted')
    assert len(bench.objects) == known
    assert 'out of memory' in bench.pipeline.statistics.snapshot().error
    assert len(bench.show().objects) == 1


def test_a_failing_request_is_an_internal_error(tracking, helpers, monkeypatch):
    bench = tracking

    def fail(*args, **options):
        raise ZeroDivisionError('inside the engine')

    with monkeypatch.context() as patch:
        patch.setattr(bench.pipeline._tracker, 'add', fail)
        answer = bench.add(helpers.make_box_prompt('x'))
    assert answer.error_code == ErrorCode.INTERNAL
    assert 'ZeroDivisionError: inside the engine' in answer.message
    assert len(bench.show().objects) == 1
