"""The services of a real node over real DDS: what they do, and every way to be refused."""

import re
import threading

import numpy as np
import pytest

pytest.importorskip('rclpy')
from geometry_msgs.msg import Point
from robust_vos.msg import ErrorCode, ObjectPrompt, TrackedObject, TrackEvent
from robust_vos.srv import AddObjects, ListObjects, RefineObject, RemoveObjects, SegmentOnce
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from robust_vos_ros.node import services
from robust_vos_ros.node.serving import MAX_TOPIC_CALLS

pytestmark = pytest.mark.ros

DISC = (40, 48)


def make_header(stamp_ns=0):
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return header


def mask_image(mask):
    return Image(
        height=mask.shape[0],
        width=mask.shape[1],
        encoding='mono8',
        step=mask.shape[1],
        data=mask.astype(np.uint8).tobytes(),
    )


def disc_mask(size_hw=(96, 128)):
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    return (x - DISC[0]) ** 2 + (y - DISC[1]) ** 2 < 15**2


def test_add_track_list_remove(bench, helpers):
    shown = bench.show()
    answer = bench.add(helpers.make_box_prompt('disc', class_id='toy'))
    assert answer.success, answer.message
    assert answer.error_code == ErrorCode.OK
    assert answer.applied_stamp == shown.header.stamp
    (added,) = answer.objects
    assert (added.object_id, added.class_id) == ('disc', 'toy')
    assert added.state == TrackedObject.STATE_INITIALIZING
    assert 400 < added.area_px < 1200  # the disc has 700 pixels

    tracked = bench.show(helpers.make_rgb(shift=2))
    (item,) = tracked.objects
    assert item.uuid == added.uuid
    assert abs(item.centroid.x - DISC[0]) < 8
    assert abs(item.centroid.y - DISC[1]) < 8

    listed = bench.call(ListObjects, '/robust_vos/list_objects')
    assert listed.success
    assert listed.header == tracked.header
    assert str(listed.objects) == str(tracked.objects)  # NaN is not equal to itself

    removed = bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=['disc'])
    assert removed.success
    assert removed.removed == ['disc']
    assert bench.show().objects == []
    bench.wait(lambda: bench.events[-1].type == TrackEvent.REMOVED)
    assert bench.events[0].type == TrackEvent.ADDED
    assert bench.events[0].header == shown.header


def test_mask_and_point_prompts(bench, helpers):
    bench.show()
    by_mask = ObjectPrompt(object_id='by mask', mask=[mask_image(disc_mask())])
    by_point = helpers.make_point_prompt('by points', DISC, (100, 20), labels=(1, 0))
    answer = bench.add(by_mask, by_point)
    assert answer.success, answer.message
    assert [item.object_id for item in answer.objects] == ['by mask', 'by points']
    assert len({item.label for item in answer.objects}) == 2


def test_refine(bench, helpers):
    bench.show()
    bench.add(helpers.make_box_prompt())
    shown = bench.show()
    answer = bench.call(
        RefineObject,
        '/robust_vos/refine_object',
        header=make_header(),
        prompt=helpers.make_point_prompt('disc', DISC),
    )
    assert answer.success, answer.message
    assert answer.applied_stamp == shown.header.stamp
    assert answer.object.object_id == 'disc'
    assert answer.object.uuid == shown.objects[0].uuid


def test_refine_the_class_alone(bench, helpers):
    bench.show()
    bench.add(helpers.make_box_prompt())
    before = bench.show().objects[0]
    prompt = ObjectPrompt(object_id='disc', class_id='lid')
    answer = bench.call(
        RefineObject, '/robust_vos/refine_object', header=make_header(), prompt=prompt
    )
    assert answer.success, answer.message
    assert (answer.object.class_id, answer.object.uuid) == ('lid', before.uuid)
    assert bench.show().objects[0].class_id == 'lid'
    prompt.class_id = ''
    refused = bench.call(
        RefineObject, '/robust_vos/refine_object', header=make_header(), prompt=prompt
    )
    assert refused.error_code == ErrorCode.BAD_PROMPT


def test_replace_existing(bench, helpers):
    bench.show()
    first = bench.add(helpers.make_box_prompt()).objects[0]
    second = bench.add(helpers.make_box_prompt(), replace=True)
    assert second.success
    assert second.objects[0].uuid != first.uuid


def test_prompt_on_a_past_frame(bench, helpers):
    past = bench.show()
    for shift in (4, 8):
        newest = bench.show(helpers.make_rgb(shift=shift))
    answer = bench.add(helpers.make_box_prompt(), stamp=helpers.stamp_ns(past.header))
    assert answer.success, answer.message
    assert answer.applied_stamp == past.header.stamp
    # Tracked forward: the answer is about the newest frame, where the disc has moved on.
    assert answer.objects[0].last_seen == newest.header.stamp
    assert answer.objects[0].centroid.x > DISC[0] + 3
    bench.wait(lambda: bench.events)
    assert bench.events[0].header == past.header


class Busy:
    """Holds the worker inside the engine, as a slow frame would."""

    def __init__(self, bench, monkeypatch):
        self.entered, self.leave = threading.Event(), threading.Event()
        tracker = bench.pipeline._tracker
        step = tracker.step

        def slow_step(frame):
            self.entered.set()
            assert self.leave.wait(30)
            return step(frame)

        monkeypatch.setattr(tracker, 'step', slow_step)


def receive(bench, helpers, rgb):
    """Publish an image and wait until it was received, but not until it was processed."""
    received = bench.counts.received
    msg = helpers.make_image(bench.next_stamp(), rgb)
    bench.publish(msg)
    bench.wait(lambda: bench.counts.received > received, 'the image to be received')
    return msg


@pytest.mark.parametrize('on', ['waiting frame', 'dropped frame'])
def test_prompt_on_a_frame_not_processed(bench, helpers, monkeypatch, on):
    """A detector may have seen an image that here still waits, or was dropped for a newer one."""
    bench.show()
    busy = Busy(bench, monkeypatch)
    receive(bench, helpers, helpers.make_rgb())
    bench.wait(busy.entered.is_set)
    images = [receive(bench, helpers, helpers.make_rgb(shift)) for shift in (2, 4)]
    meant = images[1] if on == 'waiting frame' else images[0]
    future = bench.send(
        AddObjects,
        '/robust_vos/add_objects',
        header=make_header(helpers.stamp_ns(meant.header)),
        prompts=[helpers.make_box_prompt()],
    )
    bench.wait(lambda: len(bench.pipeline.lane._mailbox._requests) == 1, 'the request to wait')
    busy.leave.set()
    bench.wait(future.done, 'the answer')
    answer = future.result()
    assert answer.success, answer.message
    assert answer.applied_stamp == meant.header.stamp
    assert answer.objects[0].last_seen == images[1].header.stamp


@pytest.mark.parametrize('request_kind', ['add', 'refine', 'segment'])
@pytest.mark.parametrize(
    ('offset_ns', 'code'),
    [
        (-10 * 10**9, ErrorCode.STAMP_TOO_OLD),  # left the buffer
        (10**9, ErrorCode.STAMP_IN_FUTURE),  # not arrived
        (-1, ErrorCode.STAMP_UNKNOWN),  # between two frames
    ],
)
def test_stamps_without_a_frame(bench, helpers, request_kind, offset_ns, code):
    bench.show()
    bench.add(helpers.make_box_prompt())
    header = make_header(helpers.stamp_ns(bench.show().header) + offset_ns)
    prompt = helpers.make_point_prompt('disc', DISC)
    calls = {
        'add': (AddObjects, 'add_objects', {'prompts': [prompt]}),
        'refine': (RefineObject, 'refine_object', {'prompt': prompt}),
        'segment': (SegmentOnce, 'segment_once', {'prompts': [prompt]}),
    }
    kind, name, fields = calls[request_kind]
    answer = bench.call(kind, f'/robust_vos/{name}', header=header, **fields)
    assert not answer.success
    assert answer.error_code == code
    assert 'the buffer holds' in answer.message


NAN = float('nan')


@pytest.mark.parametrize(
    ('fields', 'code', 'words'),
    [
        ({'points': [(NAN, 3)]}, ErrorCode.BAD_PROMPT, 'inside 128x96'),
        ({'points': [(float('inf'), 3)]}, ErrorCode.BAD_PROMPT, 'inside 128x96'),
        ({'points': [(1e300, 3)]}, ErrorCode.BAD_PROMPT, 'inside 128x96'),  # beyond float32
        ({'points': [(128, 3)]}, ErrorCode.BAD_PROMPT, 'inside 128x96'),  # one beyond the last
        ({'points': [(3, -1)]}, ErrorCode.BAD_PROMPT, 'inside 128x96'),
        ({'points': [(3, 3)], 'labels': [2]}, ErrorCode.BAD_PROMPT, '0 or 1'),
        ({'points': [(3, 3)], 'labels': [1, 0]}, ErrorCode.BAD_PROMPT, '2 point_labels'),
        ({'points': [(3, 3)], 'labels': [0]}, ErrorCode.BAD_PROMPT, 'at least one point'),
        ({'points': [(3, 3)] * 1000}, ErrorCode.BAD_PROMPT, 'at most 64 points'),
        ({}, ErrorCode.BAD_PROMPT, 'points, a box or a mask'),  # empty
        ({'box': (0, 0, 0, 5)}, ErrorCode.BAD_PROMPT, 'a box with area'),
        ({'box': (120, 90, 30, 30)}, ErrorCode.BAD_PROMPT, 'inside 128x96'),
        ({'object_id': 'x' * 257, 'points': [(3, 3)]}, ErrorCode.BAD_PROMPT, 'at most 256'),
        ({'box': (0, 0, 2**32 - 1, 2**32 - 1)}, ErrorCode.BAD_PROMPT, 'inside 128x96'),
        ({'mask': np.zeros((96, 128))}, ErrorCode.BAD_PROMPT, 'at least one object pixel'),
        ({'mask': np.ones((96, 128))}, ErrorCode.BAD_PROMPT, 'whole image'),
        ({'mask': disc_mask((48, 64))}, ErrorCode.BAD_PROMPT, 'image size 128x96'),
        ({'mask': disc_mask(), 'points': [(3, 3)]}, ErrorCode.BAD_PROMPT, 'mask alone'),
        ({'object_id': '', 'points': [(3, 3)]}, ErrorCode.BAD_PROMPT, 'object_id'),
        ({'object_id': 'disc', 'points': [(3, 3)]}, ErrorCode.DUPLICATE_ID, 'disc'),
    ],
)
def test_bad_prompts(bench, helpers, fields, code, words):
    bench.show()
    assert bench.add(helpers.make_box_prompt('disc')).success
    prompt = helpers.make_point_prompt(
        fields.get('object_id', 'bad'), *fields.get('points', ()), labels=fields.get('labels', ())
    )
    if 'box' in fields:
        x, y, width, height = fields['box']
        prompt.box = [RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)]
    if 'mask' in fields:
        prompt.mask = [mask_image(fields['mask'])]
    good = helpers.make_box_prompt('good')
    answer = bench.add(good, prompt)
    assert not answer.success
    assert answer.error_code == code, answer.message
    assert words in answer.message
    # All or nothing: the good prompt beside it was not taken.
    assert [item.object_id for item in bench.show().objects] == ['disc']


def with_reference(prompt, helpers, rgb):
    prompt.reference = [helpers.make_image(10**18, rgb, frame_id='album')]
    return prompt


def test_an_object_of_a_reference_picture_starts_lost_and_is_found(bench, helpers):
    """The picture has another size, and the disc comes later, elsewhere."""
    empty = helpers.make_rgb(shift=-500)
    shown = bench.show(empty)
    prompt = with_reference(
        helpers.make_box_prompt('disc'), helpers, helpers.make_rgb(size_hw=(110, 130))
    )
    answer = bench.add(prompt)
    assert answer.success, answer.message
    assert "'disc' is LOST until it is re-detected by its reference picture" in answer.message
    assert answer.applied_stamp == shown.header.stamp
    (item,) = answer.objects
    assert (item.state, item.area_px) == (TrackedObject.STATE_LOST, 0)
    assert bench.show(empty).objects[0].state == TrackedObject.STATE_LOST
    for _ in range(20):
        (item,) = bench.show(helpers.make_rgb(shift=30)).objects
        if item.state == TrackedObject.STATE_TRACKED:
            break
    assert item.state == TrackedObject.STATE_TRACKED
    assert abs(item.centroid.x - DISC[0] - 30) < 8
    bench.wait(lambda: bench.events[-1].type == TrackEvent.CONFIRMED, 'the event')
    assert re.search(r'similarity [01]\.', bench.events[-1].detail)


@pytest.mark.parametrize(
    ('service', 'words'),
    [
        (AddObjects, '1 of 2; send two requests'),
        (RefineObject, 'send it to add_objects'),
        (SegmentOnce, 'send it to add_objects'),
    ],
)
def test_reference_pictures_where_they_are_not_taken(bench, helpers, service, words):
    bench.show()
    prompt = with_reference(helpers.make_box_prompt('b'), helpers, helpers.make_rgb())
    prompts = {'prompts': [prompt]}
    if service is AddObjects:
        prompts = {'prompts': [helpers.make_box_prompt('a'), prompt]}
    elif service is RefineObject:
        prompts = {'prompt': prompt}
    name = {AddObjects: 'add_objects', RefineObject: 'refine_object', SegmentOnce: 'segment_once'}
    answer = bench.call(service, f'/robust_vos/{name[service]}', **prompts)
    assert answer.error_code == ErrorCode.BAD_PROMPT
    assert words in answer.message


def test_a_reference_picture_and_its_mask_have_one_size(bench, helpers):
    bench.show()
    prompt = ObjectPrompt(object_id='disc', mask=[mask_image(disc_mask())])
    answer = bench.add(with_reference(prompt, helpers, helpers.make_rgb(size_hw=(110, 130))))
    assert answer.error_code == ErrorCode.BAD_PROMPT
    assert 'expected a mask of the image size 130x110' in answer.message


def test_broken_mask_message(bench):
    bench.show()
    mask = mask_image(disc_mask())
    mask.step = 1
    answer = bench.add(ObjectPrompt(object_id='m', mask=[mask]))
    assert (answer.success, answer.error_code) == (False, ErrorCode.BAD_PROMPT)
    assert 'step is 1' in answer.message


def test_no_prompts(bench):
    bench.show()
    answer = bench.add()
    assert answer.error_code == ErrorCode.BAD_PROMPT


def test_the_same_id_twice_in_one_request(bench, helpers):
    bench.show()
    answer = bench.add(helpers.make_box_prompt('twin'), helpers.make_box_prompt('twin'))
    assert answer.error_code == ErrorCode.DUPLICATE_ID, answer.message
    assert bench.show().objects == []


def test_a_box_a_little_beyond_the_image(bench, helpers):
    bench.show()
    answer = bench.add(helpers.make_box_prompt('corner', x=100, y=70, side=30))  # 128x96
    assert answer.success, answer.message


def test_too_many_prompts_are_not_converted(bench, helpers, monkeypatch):
    bench.show()
    many = [helpers.make_point_prompt('same', (3, 3))] * 2000
    monkeypatch.setattr(services, 'to_prompt', None)  # calling it would be INTERNAL
    answer = bench.add(*many)
    assert answer.error_code == ErrorCode.CAPACITY
    assert '2000 prompts would exceed max_objects = 16' in answer.message


def test_capacity(bench, helpers):
    bench.show()
    many = [helpers.make_box_prompt(f'object {number}') for number in range(17)]
    answer = bench.add(*many)
    assert answer.error_code == ErrorCode.CAPACITY
    assert '16' in answer.message
    assert bench.show().objects == []


@pytest.mark.parametrize('ids', [['unknown'], ['disc', 'unknown'], ['unknown' * 100_000]])
def test_unknown_ids(bench, helpers, ids):
    bench.show()
    bench.add(helpers.make_box_prompt())
    removed = bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=ids)
    assert removed.error_code == ErrorCode.UNKNOWN_ID
    assert removed.removed == []
    assert len(removed.message) < 400
    refined = bench.call(
        RefineObject,
        '/robust_vos/refine_object',
        prompt=helpers.make_point_prompt('unknown', DISC),
    )
    assert refined.error_code == ErrorCode.UNKNOWN_ID
    assert 'unknown' in refined.message
    assert len(bench.show().objects) == 1


def test_remove_all(bench, helpers):
    bench.show()
    bench.add(helpers.make_box_prompt('a'), helpers.make_box_prompt('b'))
    answer = bench.call(RemoveObjects, '/robust_vos/remove_objects')
    assert sorted(answer.removed) == ['a', 'b']
    assert bench.show().objects == []


def test_add_right_after_reset(bench, helpers):
    """The newest frame is still there for a prompt, though the engine forgot it."""
    shown = bench.show()
    assert bench.call(Trigger, '/robust_vos/reset').success
    answer = bench.add(helpers.make_box_prompt())
    assert answer.success, answer.message
    assert answer.applied_stamp == shown.header.stamp
    assert len(bench.show().objects) == 1


def test_segment_once(bench, helpers):
    shown = bench.show()
    bench.add(helpers.make_box_prompt('tracked'))
    answer = bench.call(
        SegmentOnce, '/robust_vos/segment_once', prompts=[helpers.make_box_prompt('once')]
    )
    assert answer.success, answer.message
    assert answer.applied_stamp == shown.header.stamp
    assert answer.label_mask.header == shown.header
    labels = np.frombuffer(answer.label_mask.data, np.uint8).reshape(96, 128)
    (item,) = answer.objects
    assert np.count_nonzero(labels == item.label) == item.area_px > 400
    assert [item.object_id for item in bench.show().objects] == ['tracked']


def test_segment_once_in_a_given_image(bench, helpers):
    bench.show()
    other = helpers.make_image(5 * 10**9, helpers.make_rgb(size_hw=(120, 200)), frame_id='other')
    answer = bench.call(
        SegmentOnce,
        '/robust_vos/segment_once',
        image=[other],
        prompts=[helpers.make_box_prompt('once')],
    )
    assert answer.success, answer.message
    assert answer.label_mask.header == other.header
    assert (answer.label_mask.height, answer.label_mask.width) == (120, 200)
    other.step = 3
    broken = bench.call(
        SegmentOnce,
        '/robust_vos/segment_once',
        image=[other],
        prompts=[helpers.make_box_prompt('once')],
    )
    assert broken.error_code == ErrorCode.BAD_PROMPT
    assert 'step is 3' in broken.message


def test_disabled_keeps_tracks(bench, helpers):
    bench.show()
    uuid = bench.add(helpers.make_box_prompt()).objects[0].uuid
    assert bench.call(SetBool, '/robust_vos/set_enabled', data=False).success
    assert bench.robust_vos.get_parameter('enabled').value is False
    ignored = bench.counts.ignored
    known = len(bench.objects)
    bench.publish(helpers.make_image(bench.next_stamp()))
    bench.wait(lambda: bench.counts.ignored > ignored)
    assert len(bench.objects) == known
    listed = bench.call(ListObjects, '/robust_vos/list_objects')
    assert [item.uuid for item in listed.objects] == [uuid]
    assert bench.call(SetBool, '/robust_vos/set_enabled', data=True).success
    assert [item.uuid for item in bench.show().objects] == [uuid]


def test_flood_is_answered(bench, helpers):
    """More requests than the queue holds: each gets an answer, images go on, nothing is lost."""
    bench.show()
    prompts = [helpers.make_box_prompt('flood')]
    futures = [
        bench.send(SegmentOnce, '/robust_vos/segment_once', prompts=prompts) for _ in range(300)
    ]
    bench.show()
    bench.wait(lambda: all(future.done() for future in futures), 'all answers')
    codes = {future.result().error_code for future in futures}
    assert codes <= {ErrorCode.OK, ErrorCode.QUEUE_FULL}
    assert ErrorCode.OK in codes
    assert bench.call(ListObjects, '/robust_vos/list_objects').success


class Held:
    """Holds the worker inside a request, so that everything after it has to wait."""

    def __init__(self, bench):
        self._bench, self._leave = bench, threading.Event()

    def __enter__(self):
        entered, leave = threading.Event(), self._leave
        lane = self._bench.pipeline.lane
        lane.submit(lambda: entered.set() or leave.wait(30), self._bench.server)
        self._bench.wait(entered.is_set)
        return lane._mailbox

    def __exit__(self, *_):
        self._leave.set()


@pytest.mark.parametrize('kind', ['reset', 'remove all'])
def test_reset_goes_before_waiting_requests_and_cancels_them(bench, helpers, kind):
    bench.show()
    assert bench.add(helpers.make_box_prompt('old')).success
    with Held(bench) as mailbox:
        fields = {'prompts': [helpers.make_box_prompt('waiting')]}
        once = bench.send(SegmentOnce, '/robust_vos/segment_once', **fields)
        bench.wait(lambda: mailbox._requests, 'the first request to wait')
        adds = [bench.send(AddObjects, '/robust_vos/add_objects', **fields) for _ in range(40)]
        bench.wait(lambda: sum(add.done() for add in adds) == 9, 'a full queue')
        if kind == 'reset':
            answer = bench.send(Trigger, '/robust_vos/reset')
        else:
            answer = bench.send(RemoveObjects, '/robust_vos/remove_objects')
        bench.wait(lambda: all(add.done() for add in adds), 'the waiting ones to be cancelled')
        assert len(mailbox._urgent) == 1
        assert bench.call(SetBool, '/robust_vos/set_enabled', data=False).success  # at once
        assert bench.call(SetBool, '/robust_vos/set_enabled', data=True).success
    bench.wait(lambda: answer.done() and once.done(), 'the answers')
    assert answer.result().success, answer.result().message
    codes = sorted(add.result().error_code for add in adds)
    assert codes == [ErrorCode.QUEUE_FULL] * 9 + [ErrorCode.CANCELLED] * 31
    assert once.result().success, once.result().message  # it changes no object
    assert bench.show().objects == []


def test_removal_goes_before_waiting_requests(bench, helpers):
    bench.show()
    assert bench.add(helpers.make_box_prompt('old')).success
    bench.wait(lambda: bench.events, 'ADDED')
    with Held(bench) as mailbox:
        prompts = [helpers.make_box_prompt('new')]
        add = bench.send(AddObjects, '/robust_vos/add_objects', prompts=prompts)
        bench.wait(lambda: mailbox._requests, 'the request to wait')
        removal = bench.send(RemoveObjects, '/robust_vos/remove_objects', object_ids=['old'])
        bench.wait(lambda: mailbox._urgent, 'the removal to wait')
    bench.wait(lambda: add.done() and removal.done(), 'answers')
    assert add.result().success
    assert removal.result().removed == ['old']
    bench.wait(lambda: len(bench.events) == 3, 'events')
    assert [(event.object_id, event.type) for event in bench.events[1:]] == [
        ('old', TrackEvent.REMOVED),
        ('new', TrackEvent.ADDED),
    ]


def test_a_removal_keeps_its_turn_behind_a_request_of_the_same_id(bench, helpers):
    bench.show()
    with Held(bench) as mailbox:
        prompts = [helpers.make_box_prompt('new')]
        add = bench.send(AddObjects, '/robust_vos/add_objects', prompts=prompts)
        bench.wait(lambda: mailbox._requests, 'the request to wait')
        removal = bench.send(RemoveObjects, '/robust_vos/remove_objects', object_ids=['new'])
        bench.wait(lambda: len(mailbox._requests) == 2, 'the removal to wait')
    bench.wait(lambda: add.done() and removal.done(), 'answers')
    assert add.result().success
    assert removal.result().removed == ['new']
    assert bench.show().objects == []


def test_a_flood_of_clicks_leaves_room_for_services(bench, helpers):
    bench.show()
    click = bench.talk(Point, '/image_mouse_left')
    failed = bench.counts.requests_failed
    with Held(bench) as mailbox:
        for number in range(10_000):
            click(Point(x=float(number % 128), y=50.0))
        bench.wait(lambda: bench.counts.requests_failed > failed, 'clicks to be refused')
        assert len(mailbox._requests) == MAX_TOPIC_CALLS
        prompts = [helpers.make_box_prompt('by service')]
        add = bench.send(AddObjects, '/robust_vos/add_objects', prompts=prompts)
        bench.wait(lambda: len(mailbox._requests) > MAX_TOPIC_CALLS, 'the request to wait')
        resets = [bench.send(Trigger, '/robust_vos/reset') for _ in range(2)]
        bench.wait(add.done, 'the request to be cancelled')
    bench.wait(lambda: all(reset.done() for reset in resets), 'two resets')
    assert all(reset.result().success for reset in resets)
    assert add.result().error_code == ErrorCode.CANCELLED


@pytest.fixture(scope='module')
def strict_bench(make_bench):
    """A node that gives up early and queues little."""
    return make_bench({'prompt_timeout_s': 0.3, 'max_pending_requests': 2})


def test_before_the_first_image(strict_bench, helpers):
    answer = strict_bench.add(helpers.make_box_prompt())
    assert answer.error_code == ErrorCode.NO_IMAGE
    stamped = strict_bench.add(helpers.make_box_prompt(), stamp=10**9)
    assert stamped.error_code == ErrorCode.NO_IMAGE
    once = strict_bench.call(
        SegmentOnce, '/robust_vos/segment_once', prompts=[helpers.make_box_prompt()]
    )
    assert once.error_code == ErrorCode.NO_IMAGE
    listed = strict_bench.call(ListObjects, '/robust_vos/list_objects')
    assert listed.success
    assert listed.objects == []
    removed = strict_bench.call(RemoveObjects, '/robust_vos/remove_objects')
    assert removed.success
    assert strict_bench.call(Trigger, '/robust_vos/reset').success


def test_timeout_and_full_queue(strict_bench, helpers):
    strict_bench.show()
    with Held(strict_bench):
        prompt = helpers.make_box_prompt('late')
        futures = [
            strict_bench.send(AddObjects, '/robust_vos/add_objects', prompts=[prompt])
            for _ in range(5)
        ]
        strict_bench.wait(lambda: all(future.done() for future in futures), 'answers')
        # While they wait the executor is free: this needs no worker.
        assert strict_bench.call(ListObjects, '/robust_vos/list_objects').success
        # What timed out takes no place in the queue of two.
        again = [strict_bench.call(Trigger, '/robust_vos/reset') for _ in range(4)]
        late = strict_bench.add(prompt)
    assert late.error_code == ErrorCode.TIMEOUT
    codes = sorted(future.result().error_code for future in futures)
    assert codes == [ErrorCode.QUEUE_FULL] * 3 + [ErrorCode.TIMEOUT] * 2
    assert len(again) == 4
    assert {answer.message.partition(':')[0] for answer in again} == {'TIMEOUT'}
    assert strict_bench.show().objects == []  # what timed out while it waited was not done
    assert strict_bench.failures == []
