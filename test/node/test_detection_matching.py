"""Which boxes of a detector restart, correct, add and remove objects. Nothing here needs ROS."""

import math
import uuid

import numpy as np
import pytest

from robust_vos_ros.core.types import ObjectFlag, ObjectState, TrackedObject, TrackResult
from robust_vos_ros.node.boxes import OUTSIDE, Box, place
from robust_vos_ros.node.detection_matching import MAX_TRIED, Matcher, find_candidates
from robust_vos_ros.node.detector_settings import AddSettings, CorrectSettings, DetectorSettings
from robust_vos_ros.node.views import View, Views

SIZE_HW = (200, 300)
TRACKED, LOST, UNCERTAIN = ObjectState.TRACKED, ObjectState.LOST, ObjectState.UNCERTAIN
HERE, BESIDE, FAR = (50, 50, 90, 110), (75, 50, 115, 110), (200, 100, 240, 160)
MAIN = DetectorSettings(
    mode='add',
    correct=CorrectSettings(after=2, interval=4),
    add=AddSettings(after=2, probation=4, max_unmatched=2),
)


def box(corners, *, name='', **scores):
    return Box(name, scores, np.array(corners, np.float64))


def tracked(name, corners, class_id='cup', state=TRACKED):
    x0, y0, x1, y1 = corners
    return TrackedObject(
        object_id=name, uuid=uuid.uuid5(uuid.NAMESPACE_OID, name), label=1, class_id=class_id,
        state=state, confidence=0.9, existence_probability=0.9, mask_quality=math.nan,
        gate_activity=math.nan, memory_updated=True, path_switched=False, last_seen_ns=0,
        age_ns=0, frames_since_seen=0, flags=ObjectFlag.NONE,
        box_xywh=(x0, y0, x1 - x0, y1 - y0), centroid_xy=(0.0, 0.0),
        area_px=0 if state == LOST else (x1 - x0) * (y1 - y0),
    )  # fmt: skip


def view_of(objects, stamp_ns=0):
    on = np.zeros(SIZE_HW, bool)
    for item in objects:
        if item.area_px:
            x, y, width, height = item.box_xywh
            on[y : y + height, x : x + width] = True
    return View(stamp_ns, SIZE_HW, {item.uuid: item for item in objects}, on)


def run(matcher, arrays, objects, settings=MAIN, *, start=1, room=5, view=None):
    """Take in arrays one after the other; return the decision about the last one."""
    for stamp_ns, boxes in enumerate(arrays, start):
        decision = matcher.update(
            boxes, view or view_of(objects), objects, settings, stamp_ns=stamp_ns, room=room
        )
    return decision


@pytest.mark.parametrize(
    ('size', 'resize', 'corners', 'expected'),
    [
        ('', 'stretch', (10, 20, 30, 40), (10, 20, 30, 40)),  # pixels of the camera
        ('', 'letterbox', (10, 20, 30, 40), (10, 20, 30, 40)),  # no size: nothing to undo
        ('600x200', 'stretch', (10, 20, 30, 40), (5, 20, 15, 40)),  # Isaac's Grounding DINO
        ('600x600', 'letterbox', (0, 100, 600, 500), (0, 0, 300, 200)),  # bars above and below
        ('600x400', 'letterbox', (60, 40, 120, 80), (30, 20, 60, 40)),  # same shape: no bars
        ('800x400', 'letterbox', (100, 0, 700, 400), (0, 0, 300, 200)),  # bars left and right
        ('600x600', 'top_left', (0, 0, 600, 400), (0, 0, 300, 200)),  # a bar below
        ('', 'stretch', (-50, -50, 20, 20), (0, 0, 20, 20)),  # cut at the border
        ('', 'stretch', (290, 190, 900, 900), (290, 190, 300, 200)),
        ('', 'stretch', (300, 10, 340, 40), None),  # outside
        ('', 'stretch', (-40, 10, 0.5, 40), None),  # less than a pixel inside
        ('600x600', 'letterbox', (10, 10, 90, 90), None),  # in the bar
    ],
)
def test_boxes_are_brought_to_the_camera_image(size, resize, corners, expected):
    settings = DetectorSettings(image_size=size, resize=resize)
    placed, refused = place([box(corners, cup=0.5)], SIZE_HW, settings)
    if expected is None:
        assert (placed, dict(refused)) == ([], {OUTSIDE: 1})
    else:
        assert placed[0].corners.tolist() == list(expected)
        assert not refused


def test_which_boxes_are_tried_for_which_object():
    objects = [
        tracked('a', HERE, 'cup', LOST),
        tracked('b', HERE, 'cup'),  # in view
        tracked('c', HERE, '', ObjectState.OCCLUDED),
    ]
    boxes = [box((k, 0, k + 9, 9), cup=0.1 * k) for k in range(6)]
    boxes += [box((50, 0, 59, 9), name='a'), box((60, 0, 69, 9), name='c', cup=0.0)]
    tried = [(c.item.object_id, c.box.corners[0]) for c in find_candidates(boxes, objects)]
    assert tried[:MAX_TRIED] == [('a', 50), ('a', 5), ('a', 4), ('a', 3)]  # its id, the surest
    assert tried[MAX_TRIED:] == [('c', 60)]  # without a class only by id


SURE = {'cup': 0.9}
MISFIT = box(BESIDE, **SURE)  # IoU 0.23 with HERE


@pytest.mark.parametrize(
    ('arrays', 'objects', 'corrected'),
    [
        ([[MISFIT], [MISFIT]], [tracked('a', HERE)], ['a']),
        ([[MISFIT]], [tracked('a', HERE)], []),  # not long enough
        ([[MISFIT], [], [MISFIT]], [tracked('a', HERE)], []),  # not in a row
        ([[MISFIT], [box(HERE, **SURE)], [MISFIT]], [tracked('a', HERE)], []),
        ([[MISFIT], [MISFIT]], [tracked('a', HERE, state=UNCERTAIN)], ['a']),
        ([[MISFIT], [MISFIT]], [tracked('a', HERE, state=LOST)], []),  # that is a restart
        ([[MISFIT], [MISFIT]], [tracked('a', HERE, 'dog')], []),  # of another class
        ([[MISFIT], [MISFIT]], [tracked('a', HERE, '')], []),  # of no class
        ([[box(BESIDE, name='a', x=0.9)]] * 2, [tracked('a', HERE, '')], ['a']),  # by its id
        ([[box(BESIDE, cup=0.6)]] * 2, [tracked('a', HERE)], []),  # not sure enough
        ([[box(BESIDE, name='a')]] * 2, [tracked('a', HERE)], []),  # of no score
        ([[box(FAR, **SURE)]] * 2, [tracked('a', HERE)], []),  # no overlap: another thing
        # A neighbour whom the box fits has it, so that it disagrees with nobody.
        ([[MISFIT]] * 2, [tracked('a', HERE), tracked('b', BESIDE)], []),
        ([[MISFIT, box(HERE, **SURE)]] * 2, [tracked('a', HERE)], []),  # nor has the other box
        ([[box((50, 50, 90, 200), **SURE)]] * 2, [tracked('a', HERE)], ['a']),  # part of it only
        ([[box((60, 60, 70, 70), **SURE)]] * 2, [tracked('a', HERE)], ['a']),  # far too large
    ],
)
def test_corrections(arrays, objects, corrected):
    settings = MAIN.model_copy(update={'mode': 'correct'})
    decision = run(Matcher(), arrays, objects, settings)
    assert [c.item.object_id for c in decision.corrections] == corrected
    assert all(c.box is arrays[-1][0] for c in decision.corrections)
    assert not decision.additions


def test_corrections_have_an_interval():
    matcher, objects = Matcher(), [tracked('a', HERE)]
    numbers = [
        stamp for stamp in range(1, 14)
        if run(matcher, [[MISFIT]], objects, start=stamp).corrections
    ]  # fmt: skip
    assert numbers == [2, 6, 10]


def test_an_iou_of_0_corrects_nothing():
    settings = MAIN.model_copy(update={'correct': CorrectSettings(iou=0.0, after=1)})
    assert not run(Matcher(), [[MISFIT]], [tracked('a', HERE)], settings).corrections


NEW = box(FAR, **SURE)


@pytest.mark.parametrize(
    ('arrays', 'objects', 'added'),
    [
        ([[NEW], [NEW]], [], 1),
        ([[NEW], [NEW]], [tracked('a', HERE)], 1),  # beside another of the class
        ([[NEW]], [], 0),  # seen once only
        ([[NEW], [], [NEW]], [], 0),  # not in a row
        ([[NEW], [box(HERE, **SURE)]], [], 0),  # elsewhere
        ([[NEW], [box(FAR, dog=0.9)]], [], 0),  # as something else
        ([[NEW], [box((205, 103, 246, 166), **SURE)]], [], 1),  # it moves a little
        ([[box(FAR, cup=0.69)]] * 2, [], 0),  # below 0.7
        ([[box(FAR, name='7')]] * 2, [], 0),  # without class and score
        ([[NEW, box((201, 100, 241, 160), mug=0.8)]] * 2, [], 1),  # twice the same thing
        ([[NEW, box(HERE, dog=0.8)]] * 2, [], 2),
        ([[NEW]] * 2, [tracked('a', FAR, 'dog')], 0),  # an object, though of another class
        ([[NEW]] * 2, [tracked('a', (150, 50, 300, 200), '')], 0),  # inside of a mask
        ([[NEW]] * 2, [tracked('a', (0, 0, 210, 200), 'dog')], 1),  # hardly covered
        ([[NEW]] * 2, [tracked('a', FAR, state=LOST)], 1),  # out of sight, and not like it
    ],
)
def test_additions(arrays, objects, added):
    decision = run(Matcher(), arrays, objects)
    assert len(decision.additions) == added
    assert not decision.corrections


def test_nothing_is_added_in_other_modes():
    settings = MAIN.model_copy(update={'mode': 'correct'})
    assert not run(Matcher(), [[NEW]] * 3, [], settings).additions


def test_the_surest_get_the_room_that_is_left():
    arrays = [[box(HERE, cup=0.8), NEW]] * 2
    decision = run(Matcher(), arrays, [], room=1)
    assert [b.corners.tolist() for b in decision.additions] == [list(FAR)]
    assert decision.no_room == 1
    assert run(Matcher(), arrays, [], room=0).no_room == 2


@pytest.mark.parametrize(
    ('class_id', 'added'),
    [('cup', 0), ('', 0), ('dog', 1)],
    ids=['may be it', 'without a class it may be anything', 'cannot be it'],
)
def test_objects_younger_than_the_image_are_not_added_again(class_id, added):
    younger = tracked('a', FAR, class_id)
    decision = run(Matcher(), [[NEW]] * 2, [younger], view=view_of([]))
    assert len(decision.additions) == added


@pytest.mark.parametrize('stamps', [(1, 1), (2, 1)], ids=['same image', 'older image'])
def test_an_array_counts_once_and_forward_only(stamps):
    matcher = Matcher()
    for stamp_ns in stamps:
        decision = run(matcher, [[NEW, MISFIT]], [tracked('a', HERE)], start=stamp_ns)
    assert not decision.additions
    assert not decision.corrections


SEEN, MISSED = [box(HERE, **SURE)], []


@pytest.mark.parametrize(
    ('arrays', 'removed_at'),
    [
        ([SEEN] * 6, None),
        ([MISSED] * 2, 2),
        ([MISSED, SEEN, SEEN, MISSED], 4),  # two within the probation, in a row or not
        ([SEEN, SEEN, SEEN, MISSED, MISSED], None),  # the second one is after it
        ([[box(HERE, dog=0.9)]] * 2, 2),  # of another class
        ([[MISFIT]] * 2, 2),  # does not fit
    ],
)
def test_what_was_added_is_removed_when_it_is_not_detected(arrays, removed_at):
    matcher, objects = Matcher(), [tracked('cup_1', HERE), tracked('by hand', FAR)]
    matcher.watch(objects[0].uuid)
    removed = None
    for number, boxes in enumerate(arrays, 1):
        decision = run(matcher, [boxes], objects, start=number)
        if decision.removals:
            assert [item.object_id for item in decision.removals] == ['cup_1']
            assert not decision.corrections
            removed = number
            break
    assert removed == removed_at


def test_one_out_of_sight_is_not_detected_either():
    matcher, objects = Matcher(), [tracked('cup_1', HERE, state=LOST)]
    matcher.watch(objects[0].uuid)
    assert run(matcher, [SEEN] * 2, objects).removals == tuple(objects)


def result_of(stamp_ns, *objects):
    labels = np.zeros(SIZE_HW, np.uint8)
    for item in objects:
        x, y, width, height = item.box_xywh
        labels[y : y + height, x : x + width] = item.label
    return TrackResult(stamp_ns, 'camera', 0, labels, None, objects, (), 0)


def test_views_are_found_by_time():
    views, second = Views(), 10**9
    for number in range(5):
        views.append(result_of(number * second, tracked(str(number), HERE)), span_s=2.5)
    newest = result_of(4 * second, tracked('changed', HERE))

    def name(stamp_s, tolerance_s=0.6):
        view = views.nearest(int(stamp_s * second), newest, tolerance_s)
        return view and next(iter(view.objects.values())).object_id

    assert name(3) == '3'
    assert name(2.9) == '3'
    assert name(4) == 'changed'  # what requests did since is in it
    assert name(2) == '2'
    assert name(1, 0.4) is None  # left the buffer
    assert name(3.5, 0.1) is None  # nothing near
    views.forget(['3'])
    assert views.nearest(3 * second, newest, 0.1).objects == {}
    views.append(result_of(2 * second, tracked('again', HERE)), span_s=2.5)  # time went back
    newest = result_of(2 * second, tracked('again', HERE))
    assert name(4, 0.5) is None
    views.clear()
    assert name(2) == 'again'


@pytest.mark.parametrize(
    ('corners', 'share'),
    [
        (HERE, 1.0),
        (FAR, 0.0),
        ((50, 50, 130, 110), 0.5),
        ((70, 70, 71, 71), 1.0),  # smaller than a cell of the grid
        ((299, 199, 300, 200), 0.0),  # the last pixel
    ],
)
def test_how_much_of_a_box_is_covered(corners, share):
    view = View.of(result_of(0, tracked('a', HERE)))
    assert max(view.on.shape) <= 160
    assert view.covered(np.array(corners, np.float64)) == pytest.approx(share, abs=0.05)
