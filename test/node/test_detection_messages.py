"""Arrays of detectors to boxes: what they send, and what they should not send."""

import math

import pytest

pytest.importorskip('std_msgs')

from robust_vos_ros.node.detection_messages import (
    BAD_SCORE,
    LONG_NAME,
    LOW_SCORE,
    NO_SIZE,
    NOT_FINITE,
    OTHER_CLASS,
    TOO_MANY,
    to_boxes,
)
from robust_vos_ros.node.detector_settings import DetectorSettings

pytestmark = pytest.mark.ros

NAN, INF = float('nan'), float('inf')
ALL = DetectorSettings()
CUPS = DetectorSettings(classes=['cup', 'mug'])


def read(helpers, *detections, settings=ALL):
    boxes, unused = to_boxes(helpers.make_detections(*detections), settings)
    return boxes, dict(unused)


@pytest.mark.parametrize(
    ('fields', 'box'),
    [
        # Isaac ROS YOLOv8: the number of the class as text, no id.
        ({'7': 0.83}, ('', {'7': 0.83})),
        # Isaac ROS Grounding DINO: the words of the prompt.
        ({'red mug': 0.4}, ('', {'red mug': 0.4})),
        # yolo_ros, its class_name relayed, and the id of its tracker.
        ({'name': '12', 'person': 0.9}, ('12', {'person': 0.9})),
        # A tracker without classes.
        ({'name': '12'}, ('12', {})),
        # Several hypotheses, as vision_msgs allows; no name is no class.
        ({'cup': 0.6, 'mug': 0.3, '': 0.1}, ('', {'cup': 0.6, 'mug': 0.3})),
    ],
)
def test_what_detectors_send(helpers, fields, box):
    boxes, unused = read(helpers, helpers.make_detection(20, 30, 8, 4, **fields))
    assert [(b.object_id, b.scores) for b in boxes] == [box]
    assert boxes[0].corners.tolist() == [16, 28, 24, 32]
    assert unused == {}


def test_the_class_of_a_box(helpers):
    detection = helpers.make_detection(20, 30, 8, cup=0.6, mug=0.7, ape=0.7)
    (box,), _ = read(helpers, detection)
    assert (box.class_id, box.score) == ('ape', 0.7)  # of equals the first by name
    (box,), _ = read(helpers, helpers.make_detection(20, 30, 8))
    assert (box.class_id, box.score) == ('', 0.0)


def test_a_turned_box_becomes_the_upright_one_around_it(helpers):
    (box,), _ = read(helpers, helpers.make_detection(50, 50, 20, 10, theta=math.pi / 2))
    assert box.corners == pytest.approx([45, 40, 55, 60])


@pytest.mark.parametrize(
    ('fields', 'settings', 'reason'),
    [
        ({'x': NAN}, ALL, NOT_FINITE),
        ({'width': INF}, ALL, NOT_FINITE),
        ({'theta': NAN}, ALL, NOT_FINITE),
        ({'width': -8}, ALL, NO_SIZE),
        ({'height': 0}, ALL, NO_SIZE),
        ({'width': -8, 'theta': 0.3}, ALL, NO_SIZE),
        ({'name': 'x' * 257}, ALL, LONG_NAME),
        ({'c' * 257: 0.5}, ALL, LONG_NAME),
        ({'dog': 0.9}, CUPS, OTHER_CLASS),
        ({'name': 'a'}, CUPS, OTHER_CLASS),  # of no class
        ({'cup': 0.4}, DetectorSettings(min_score=0.5), LOW_SCORE),
        ({'name': 'a'}, DetectorSettings(min_score=0.5), LOW_SCORE),  # of no score
        ({'cup': 0.4, 'dog': 0.9}, DetectorSettings(classes=['cup'], min_score=0.5), LOW_SCORE),
    ],
)
def test_boxes_that_do_not_count_are_counted(helpers, fields, settings, reason):
    fields = {'x': 20, 'y': 30, 'width': 8, 'height': 4} | fields
    good = helpers.make_detection(50, 50, 10, cup=0.9)
    boxes, unused = read(helpers, helpers.make_detection(**fields), good, settings=settings)
    assert [box.scores for box in boxes] == [{'cup': 0.9}]
    assert unused == {reason: 1}


@pytest.mark.parametrize('score', [NAN, 95.0, -1.0, INF])
def test_a_score_that_is_none_is_0(helpers, score):
    (box,), unused = read(helpers, helpers.make_detection(20, 30, 8, cup=score))
    assert box.scores == {'cup': 0.0}
    assert unused == {BAD_SCORE: 1}


def test_a_filter_of_classes_leaves_the_others_of_a_box_out(helpers):
    (box,), _ = read(helpers, helpers.make_detection(20, 30, 8, cup=0.2, dog=0.9), settings=CUPS)
    assert box.scores == {'cup': 0.2}


def test_ten_thousand_boxes_are_bounded(helpers):
    boxes, unused = read(helpers, *[helpers.make_detection(20, 30, 8, cup=0.9)] * 10_000)
    assert len(boxes) == ALL.max_boxes
    assert unused == {TOO_MANY: 10_000 - ALL.max_boxes}
