"""Prompts and detections as topics: objects start again, wrong messages are counted."""

import types

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy')
from robust_vos.msg import ObjectPrompt, TrackedObject, TrackEvent
from std_msgs.msg import Header

from robust_vos_ros.core.reid.appearance import Similarities
from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.node.detections import MAX_BOXES, to_boxes, to_candidates

pytestmark = pytest.mark.ros

NAN = float('nan')
PARAMETERS = {'tracking.occluded_after_s': 0.05, 'tracking.lost_after_s': 0.1}


@pytest.fixture(scope='module')
def shared_bench(make_bench):
    bench = make_bench(PARAMETERS)
    bench.prompt = bench.talk(ObjectPrompt, '/robust_vos/prompts')
    return bench


def detection(x, y, side, *, name='', **scores):
    """The fields of vision_msgs/Detection2D that are read, in a stand-in."""
    space = types.SimpleNamespace
    results = [space(hypothesis=space(class_id=c, score=s)) for c, s in scores.items()]
    center = space(position=space(x=x, y=y))
    return space(id=name, bbox=space(center=center, size_x=side, size_y=side), results=results)


def detect(bench, *detections, header=None):
    """Hand an array to the node as its subscription does; vision_msgs is not installed."""
    msg = types.SimpleNamespace(header=header or Header(), detections=list(detections))
    topics = bench.robust_vos._activated.prompts

    async def hand_over():
        await topics.on_detections(msg)

    bench.on_node(hand_over)


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
    gallery = tracker._propagator.reidentifier.gallery
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
        (detection(40.0, 48.0, 30.0, toy=0.9), True),  # of its class
        (detection(40.0, 48.0, 30.0, name='disc'), True),  # of its id
        (detection(40.0, 48.0, 30.0, cup=0.9), False),  # of another class
        (detection(NAN, 48.0, 30.0, toy=0.9), False),
        (detection(4000.0, 48.0, 30.0, toy=0.9), False),  # outside the image
    ],
)
def test_a_detection_starts_a_lost_object_again(bench, hidden, box, found):
    accepted, failed = bench.counts.reinitializations_accepted, bench.counts.requests_failed
    detect(bench, box)
    assert bench.counts.reinitializations_accepted - accepted == found
    assert bench.counts.requests_failed == failed


def test_a_detection_that_looks_different_is_counted(bench, hidden, monkeypatch):
    gallery = bench.pipeline._tracker._propagator.reidentifier.gallery
    accepted, rejected = (
        bench.counts.reinitializations_accepted,
        bench.counts.reinitializations_rejected,
    )
    with monkeypatch.context() as patch:
        unlike = Similarities(*[torch.full((1,), 0.1)] * 3)
        patch.setattr(gallery, 'compare', lambda *_: unlike)
        detect(bench, detection(40.0, 48.0, 30.0, toy=0.9))
    assert bench.counts.reinitializations_accepted == accepted
    assert bench.counts.reinitializations_rejected == rejected + 1


def test_a_detection_of_a_past_image(bench, helpers, hidden, monkeypatch):
    stamp = bench.stamp
    bench.show()
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
    accepted = bench.counts.reinitializations_accepted
    decoded, decode = [], bench.pipeline.to_frame
    monkeypatch.setattr(bench.pipeline, 'to_frame', lambda msg: decoded.append(msg) or decode(msg))
    detect(bench, detection(40.0, 48.0, 30.0, toy=0.9), header=header)
    assert bench.counts.reinitializations_accepted == accepted + 1
    assert len(decoded) == 1


def test_wrong_messages_are_counted(bench, helpers, hidden):
    failed = bench.counts.requests_failed
    header = Header()
    header.stamp.sec = 2**31 - 1  # not yet
    detect(bench, detection(40.0, 48.0, 30.0, toy=0.9), header=header)
    detect(bench, types.SimpleNamespace())  # no detection at all
    bench.prompt(ObjectPrompt(object_id='empty'))
    bench.prompt(helpers.make_box_prompt('outside', x=5000))
    bench.wait(lambda: bench.counts.requests_failed == failed + 4, 'four failures')
    assert [x.object_id for x in bench.show().objects] == ['disc']


def test_detections_without_lost_objects_cost_nothing(bench, helpers, monkeypatch):
    bench.show()
    bench.add(helpers.make_box_prompt(class_id='toy'))
    bench.show()
    tracker = bench.pipeline._tracker
    with monkeypatch.context() as patch:
        patch.setattr(tracker, 'reinitialize', None)  # calling it would be a failure
        failed = bench.counts.requests_failed
        detect(bench, detection(40.0, 48.0, 30.0, toy=0.9))
        assert bench.counts.requests_failed == failed


def item(name, state, class_id=''):
    return types.SimpleNamespace(object_id=name, state=state, class_id=class_id)


def test_which_boxes_are_tried_for_which_object():
    objects = [
        item('a', ObjectState.LOST, 'cup'),
        item('b', ObjectState.TRACKED, 'cup'),
        item('c', ObjectState.OCCLUDED),
    ]
    msg = types.SimpleNamespace(
        detections=[
            *(detection(10.0 + k, 10.0, 4.0, cup=0.1 * k) for k in range(6)),
            detection(50.0, 10.0, 4.0, name='a'),
            detection(60.0, 10.0, 4.0, name='c', cup=NAN),
            detection(70.0, 10.0, 0.0, cup=1.0),
            detection(0.0, 0.0, 8.0, name='c'),  # reaches out of the image
        ]
    )
    prompts = to_candidates(to_boxes(msg), objects, (40, 80))
    centers = [(p.object_id, float(p.box[[0, 2]].mean())) for p in prompts]
    assert centers[:MAX_BOXES] == [('a', 50.0), ('a', 15.0), ('a', 14.0), ('a', 13.0)]
    assert centers[MAX_BOXES:] == [('c', 60.0), ('c', 2.0)]
    assert prompts[-1].box.tolist() == [0.0, 0.0, 4.0, 4.0]


def test_the_detector_topic_exists_with_vision_msgs(bench, monkeypatch):
    """Another message type stands in for Detection2DArray, which is not installed everywhere."""
    from geometry_msgs.msg import PoseArray

    from robust_vos_ros.node import messages, prompt_topics

    def make():
        return prompt_topics.PromptTopics(bench.robust_vos, bench.robust_vos._our_services.serving)

    monkeypatch.setattr(messages, 'Detection2DArray', PoseArray)
    topics = bench.on_node(make)
    names = [item.topic_name for item in bench.robust_vos.subscriptions]
    assert '/robust_vos/detector' in names
    bench.on_node(topics.destroy)
    names = [item.topic_name for item in bench.robust_vos.subscriptions]
    assert '/robust_vos/detector' not in names
