"""Prompts and detections as topics: objects start again, wrong messages are counted."""

import threading
import types

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from robust_vos.msg import ObjectPrompt, ObjectPromptStamped, TrackedObject, TrackEvent
from std_msgs.msg import Header

from robust_vos_ros.core.reid.appearance import Similarities

pytestmark = pytest.mark.ros

NAN = float('nan')
DISC = {'x': 40.0, 'y': 48.0, 'width': 30.0}  # of make_rgb()
TOY = DISC | {'toy': 0.9}
PARAMETERS = {'tracking.occluded_after_s': 0.05, 'tracking.lost_after_s': 0.1}
PARAMETERS |= {'detector.correct.after': 2, 'detector.add.after': 2}
PARAMETERS |= {'detector.add.probation': 4, 'detector.add.max_unmatched': 2}


@pytest.fixture(scope='module')
def shared_bench(make_bench):
    bench = make_bench(PARAMETERS)
    publish = bench.talk(ObjectPromptStamped, '/robust_vos/prompts')
    bench.prompt = lambda prompt, stamp=0: publish(
        ObjectPromptStamped(header=at(stamp), prompt=prompt)
    )
    return bench


def detect(bench, helpers, *boxes, header=None):
    """Hand an array to the node as its subscription does; vision_msgs may not be installed.

    Args:
        bench: Has the node.
        helpers: Makes messages.
        boxes: Fields of each, as of `make_detection`.
        header: Of the array; None = of stamp 0.
    """
    detections = [helpers.make_detection(**fields) for fields in boxes]
    hand_over(bench, helpers.make_detections(*detections, header=header))


def hand_over(bench, msg):
    topics = bench.robust_vos._activated.cameras[0].prompts

    async def call():
        await topics.on_detections(lambda: msg)

    bench.on_node(call)


def at(stamp):
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
    return header


def lose(bench, helpers, **prompt):
    """Track the disc, then cover it until it is lost; return its last message."""
    bench.show()
    bench.add(helpers.make_box_prompt(**prompt))
    bench.wait(lambda: bench.show().objects[0].state == TrackedObject.STATE_TRACKED)
    grey = np.full((*helpers.SIZE_HW, 3), 90, np.uint8)
    return bench.wait(lambda: is_lost(bench.show(grey).objects[0]), 'LOST')


def is_lost(item):
    return item if item.state == TrackedObject.STATE_LOST else None


@pytest.fixture
def hidden(bench, helpers, monkeypatch):
    """A lost disc, in view again, that the tracker does not find by itself."""
    lost = lose(bench, helpers, class_id='toy')
    tracker = bench.pipeline._tracker
    gallery = tracker._tracks.propagator.reidentifier.gallery
    with monkeypatch.context() as patch:
        patch.setattr(
            gallery,
            'compare',
            lambda slots, *_: Similarities(*[torch.full((len(slots),), -1.0)] * 3),
        )
        assert is_lost(bench.show().objects[0])
    return lost


def test_a_prompt_adds_an_object_then_does_nothing(bench, helpers):
    bench.show()
    bench.prompt(helpers.make_box_prompt(class_id='toy'))
    (item,) = bench.wait(lambda: bench.show().objects, 'the object')
    assert (item.object_id, item.class_id) == ('disc', 'toy')
    served, events = bench.counts.requests_served, len(bench.events)
    bench.prompt(helpers.make_box_prompt(x=90, y=10))
    bench.wait(lambda: bench.counts.requests_served == served + 1, 'the prompt to be served')
    (after,) = bench.show().objects
    assert after.uuid == item.uuid
    assert abs(after.centroid.x - item.centroid.x) < 5
    assert bench.counts.reinitializations_accepted == bench.counts.reinitializations_rejected == 0
    assert all(event.type != TrackEvent.ADDED for event in bench.events[events:])


def test_a_prompt_starts_a_lost_object_again(bench, helpers, hidden):
    accepted = bench.counts.reinitializations_accepted
    bench.prompt(helpers.make_box_prompt())
    bench.wait(
        lambda: bench.counts.reinitializations_accepted == accepted + 1, 'the prompt to be served'
    )
    bench.wait(lambda: bench.show().objects[0].state == TrackedObject.STATE_TRACKED, 'TRACKED')
    assert bench.objects[-1].objects[0].uuid == hidden.uuid
    bench.wait(lambda: bench.events[-1].type == TrackEvent.REACQUIRED, 'REACQUIRED')


@pytest.mark.parametrize(
    ('box', 'found'),
    [
        (TOY, True),  # of its class
        (DISC | {'name': 'disc'}, True),  # of its id
        (DISC | {'cup': 0.9}, False),  # of another class
        (TOY | {'x': NAN}, False),
        (TOY | {'x': 4000.0}, False),  # outside the image
    ],
)
def test_a_detection_starts_a_lost_object_again(bench, helpers, hidden, box, found):
    accepted, failed = bench.counts.reinitializations_accepted, bench.counts.requests_failed
    detect(bench, helpers, box)
    assert bench.counts.reinitializations_accepted - accepted == found
    assert bench.counts.requests_failed == failed


def test_a_detection_that_looks_different_is_counted(bench, helpers, hidden, monkeypatch):
    gallery = bench.pipeline._tracker._tracks.propagator.reidentifier.gallery
    accepted, rejected = (
        bench.counts.reinitializations_accepted,
        bench.counts.reinitializations_rejected,
    )
    with monkeypatch.context() as patch:
        unlike = Similarities(*[torch.full((1,), 0.1)] * 3)
        patch.setattr(gallery, 'compare', lambda *_: unlike)
        detect(bench, helpers, TOY)
    assert bench.counts.reinitializations_accepted == accepted
    assert bench.counts.reinitializations_rejected == rejected + 1


def test_a_detection_of_a_past_image(bench, helpers, hidden, monkeypatch):
    stamp = bench.stamp
    bench.show()
    header = at(stamp)
    accepted = bench.counts.reinitializations_accepted
    decoded, decode = [], bench.pipeline.to_frame
    monkeypatch.setattr(bench.pipeline, 'to_frame', lambda msg: decoded.append(msg) or decode(msg))
    detect(bench, helpers, TOY, header=header)
    assert bench.counts.reinitializations_accepted == accepted + 1
    assert len(decoded) == 1


def test_wrong_messages_are_counted(bench, helpers, hidden):
    failed = bench.counts.requests_failed
    statistics = bench.pipeline.statistics.detector
    refused = statistics.counts.failed
    not_yet = (2**31 - 1) * 10**9
    detect(bench, helpers, TOY, header=at(not_yet))
    hand_over(bench, types.SimpleNamespace())  # no detection at all
    assert statistics.counts.failed == refused + 2
    bench.prompt(ObjectPrompt(object_id='empty'))
    bench.prompt(helpers.make_box_prompt('outside', x=5000))
    bench.prompt(helpers.make_box_prompt('early'), stamp=not_yet)
    bench.wait(lambda: bench.counts.requests_failed == failed + 5, 'five failures')
    assert [x.object_id for x in bench.show().objects] == ['disc']


def test_detections_without_lost_objects_cost_nothing(bench, helpers, monkeypatch):
    bench.show()
    bench.add(helpers.make_box_prompt(class_id='toy'))
    bench.show()
    tracker = bench.pipeline._tracker
    with monkeypatch.context() as patch:
        patch.setattr(tracker, 'reinitialize', None)  # calling it would be a failure
        failed = bench.counts.requests_failed
        detect(bench, helpers, TOY)
        assert bench.counts.requests_failed == failed


def test_a_prompt_on_a_past_image(bench, helpers):
    """The disc has moved on since: only in the image of the stamp it is where the prompt says."""
    meant = helpers.stamp_ns(bench.show(helpers.make_rgb()).header)
    for shift in (8, 16, 24, 32):
        bench.show(helpers.make_rgb(shift))
    bench.prompt(helpers.make_box_prompt(), stamp=meant)
    (item,) = bench.wait(lambda: bench.show(helpers.make_rgb(32)).objects, 'the object')
    assert abs(item.centroid.x - 72) < 5


@pytest.fixture
def set_mode(bench):
    """Change parameters of the detector; they are put back at the end."""

    def change(**values):
        parameters = [Parameter(f'detector.{k}', value=v) for k, v in values.items()]
        results = bench.on_node(lambda: bench.robust_vos.set_parameters(parameters))
        assert all(result.successful for result in results), results

    yield change
    change(mode='restart', image_size='', resize='stretch')


def test_detections_add_objects_and_take_them_back(bench, helpers, set_mode):
    set_mode(mode='add')
    counts = bench.pipeline.statistics.detector.counts
    wrong = {'x': 100.0, 'y': 20.0, 'width': 24.0, 'junk': 0.9}
    for number in range(2):
        assert bench.show().objects == []
        header = at(bench.stamp)
        bench.show()  # the detector is a frame behind
        detect(bench, helpers, TOY, *[wrong] * (1 - number), header=header)
    (item,) = bench.show().objects
    assert (item.object_id, item.class_id) == ('toy_1', 'toy')
    assert abs(item.centroid.x - 40) < 5
    for _ in range(2):
        bench.show()
        detect(bench, helpers, wrong | {'junk': 0.2})  # shows it no more
    assert bench.show().objects == []
    bench.wait(lambda: bench.events[-1].type == TrackEvent.REMOVED, 'REMOVED')
    assert bench.events[-1].detail == 'added by the detector, no longer detected'
    after = bench.pipeline.statistics.detector.counts
    assert (after.added - counts.added, after.removed - counts.removed) == (1, 1)


def test_detections_correct_objects(bench, helpers, set_mode):
    """The object was put beside the disc; the boxes are those of a network with bars."""
    set_mode(mode='correct', image_size='256x256', resize='letterbox')
    bench.show()
    wrong = np.zeros(helpers.SIZE_HW, np.uint8)
    wrong[40:80, 45:85] = 255  # a corner of the disc, and much of what is beside it
    mask = helpers.make_image(bench.stamp, wrong, encoding='mono8')
    answer = bench.add(ObjectPrompt(object_id='disc', class_id='toy', mask=[mask]))
    assert answer.success, answer.message
    box = {'x': 80.0, 'y': 32 + 96.0, 'width': 60.0, 'toy': 0.9}
    (before,) = bench.show().objects
    corrected = bench.pipeline.statistics.detector.counts.corrected
    for _ in range(2):
        bench.show()
        detect(bench, helpers, box)
    assert bench.pipeline.statistics.detector.counts.corrected == corrected + 1
    (after,) = bench.show().objects
    assert after.uuid == before.uuid
    assert abs(after.centroid.x - 40) + abs(after.centroid.y - 48) < 5


def test_bad_boxes_are_named_in_diagnostics(bench, helpers, set_mode):
    set_mode(mode='add')
    bench.show()
    boxes = [TOY | {'x': NAN}, TOY | {'width': -3.0}, TOY | {'x': 999.0}, TOY | {'toy': 90.0}]
    detect(bench, helpers, *boxes)
    status = bench.pipeline.statistics.detector.describe('node', 'add', hold_s=60.0)
    assert status.level == status.WARN
    assert status.message == (
        'of 4 boxes 1 not finite, 1 outside the image, 1 with a score outside 0 to 1, 1 without '
        'a positive size'
    )
    assert int(next(item.value for item in status.values if item.key == 'boxes not finite')) >= 1
    published = bench.listen(DiagnosticArray, '/diagnostics')

    def is_told():
        return any(s.name.endswith(': detector') for msg in published for s in msg.status)

    bench.wait(is_told, 'the status of the detector')


def test_a_flood_of_arrays_waits_nowhere(bench, helpers, set_mode):
    """While one is worked on, all others are left out."""
    set_mode(mode='add')
    bench.show()
    topics, statistics = (
        bench.robust_vos._activated.cameras[0].prompts,
        bench.pipeline.statistics.detector,
    )
    left_out, lane = statistics.counts.left_out, bench.pipeline.lane
    entered, leave = threading.Event(), threading.Event()
    lane.submit(lambda: entered.set() or leave.wait(30), bench.server)
    bench.wait(entered.is_set)
    for _ in range(50):
        bench.server.create_task(topics.on_detections, helpers.make_detections)
    bench.wait(lambda: statistics.counts.left_out == left_out + 49, 'all but one to be left out')
    assert len(lane._mailbox._requests) == 1
    leave.set()
    bench.show()


def test_the_detector_topics_exist_with_vision_msgs(bench, monkeypatch):
    """Another message type stands in for Detection2DArray, which is not installed everywhere."""
    from geometry_msgs.msg import PoseArray

    from robust_vos_ros.node import messages, prompt_topics

    if messages.Detection2DArray is not None:
        pytest.skip('vision_msgs is installed: test_boxes_over_dds uses the topics')

    def make():
        serving = bench.robust_vos._our_services[0].serving
        return prompt_topics.PromptTopics(bench.robust_vos, serving, None)

    monkeypatch.setattr(messages, 'Detection2DArray', PoseArray)
    topics = bench.on_node(make)
    names = [item.topic_name for item in topics._subscriptions]
    assert {'/robust_vos/detector_boxes', '/robust_vos/detector'} < set(names)
    bench.on_node(topics.destroy)


@pytest.mark.parametrize(
    'topics', [('detector_boxes', 'tracked_boxes'), ('detector', 'detections')]
)
def test_boxes_over_dds(bench, helpers, set_mode, topics):
    """The second pair are the deprecated names."""
    vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is an extra')
    set_mode(mode='add')
    publish = bench.talk(vision_msgs.Detection2DArray, f'/robust_vos/{topics[0]}')
    received = bench.listen(vision_msgs.Detection2DArray, f'/robust_vos/{topics[1]}')

    def is_added():
        publish(helpers.make_detections(helpers.make_detection(**TOY), header=at(bench.stamp)))
        return bench.show().objects

    bench.wait(is_added, 'the object')
    bench.wait(lambda: received and received[-1].detections, 'its box')
    (detection,) = received[-1].detections
    assert detection.results[0].hypothesis.class_id == 'toy'
    assert abs(detection.bbox.center.position.x - 40) < 5


def test_an_array_of_ten_thousand_boxes_is_refused_unread(bench, helpers, set_mode):
    vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is an extra')
    set_mode(mode='add')
    bench.show()
    kind, failed = vision_msgs.Detection2DArray, bench.pipeline.statistics.detector.counts.failed
    publish = bench.talk(kind, '/robust_vos/detector_boxes', depth=1)
    msg = helpers.make_detections(*[helpers.make_detection(**TOY)] * 10_000)

    def is_refused():
        publish(msg)  # best effort: it may get lost
        return bench.pipeline.statistics.detector.counts.failed > failed

    bench.wait(is_refused, 'the array to be refused')
    status = bench.pipeline.statistics.detector.describe('node', 'add', hold_s=60.0)
    assert 'expected an array of at most 300000 bytes' in status.message
    assert bench.show().objects == []
