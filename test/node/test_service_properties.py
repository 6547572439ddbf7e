"""Random requests to a running node: each is answered, and the next frame is sound.

A refused request changes nothing. What hypothesis finds and shrinks goes to `test_error_codes.py`
or to the tests of the part at fault.
"""

import dataclasses
import os
from typing import Any

import pytest

pytest.importorskip('rclpy')
from geometry_msgs.msg import Point
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from robust_vos.msg import ErrorCode, ObjectPrompt
from robust_vos.srv import AddObjects, Find, RefineObject, RemoveObjects, SegmentOnce
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from robust_vos_ros.live.watch import Watch

pytestmark = [pytest.mark.ros, pytest.mark.slow]
CODES = {
    getattr(ErrorCode, name): name
    for name in dir(ErrorCode)
    if name[0].isupper() and name != 'SLOT_TYPES'
}
SIZE_HW = (96, 128)  # of the images of the bench
NUM_EXAMPLES = int(os.environ.get('ROBUST_VOS_REQUESTS', '90'))  # other numbers: random ones


# No zero in a text: in C it would end there.
letters = st.characters(min_codepoint=1, exclude_categories=['Cs'])
names = st.sampled_from(['other', 'disc', 'червоний диск', '赤い円盤', 'القرص', '🔴', 'a\nb'])
texts = names | st.text(letters, max_size=40) | st.just('x' * 300)
unsigned = st.integers(0, 150) | st.sampled_from([2**31, 2**32 - 1])
boxes = st.builds(
    RegionOfInterest, x_offset=unsigned, y_offset=unsigned, width=unsigned, height=unsigned
)
stray_points = st.lists(st.builds(Point, x=st.floats(), y=st.floats()), min_size=1, max_size=70)


def make_image(encoding, size_hw, length):
    """An image with a white rectangle, and with data of that length."""
    height, width = size_hw
    msg = Image(height=height, width=width, encoding=encoding)
    msg.step = width * (3 if encoding == 'rgb8' else 1)
    data = bytearray(height * msg.step)
    for y in range(20, min(50, height)):
        data[y * msg.step + msg.step // 4 : y * msg.step + msg.step // 2] = b'\xff' * (
            msg.step // 2 - msg.step // 4
        )
    msg.data = bytes(data[:length])
    return msg


whole = st.just(1 << 20)  # more than all data
pictures = st.builds(make_image, st.sampled_from(['rgb8', 'mono8']), st.just(SIZE_HW), whole)
masks = st.builds(make_image, st.just('mono8'), st.just(SIZE_HW), whole)
odd_images = st.builds(
    make_image,
    st.sampled_from(['mono8', 'rgb8', '16UC1', '32FC1', 'nv12', '', 'ä']),
    st.tuples(st.integers(0, 200), st.integers(0, 200)),
    st.integers(0, 300) | whole,
)


@st.composite
def prompts(draw):
    """A sound prompt, or one with a field of any value."""
    x, y = draw(st.integers(20, 70)), draw(st.integers(20, 60))
    sound = st.one_of(
        st.just({'points': [Point(x=float(x), y=float(y))]}),
        st.just({'box': [RegionOfInterest(x_offset=x, y_offset=y, width=30, height=30)]}),
        st.builds(lambda mask: {'mask': [mask]}, masks),
    )
    fields = {'object_id': draw(names), **draw(sound)}
    odd = {
        'object_id': texts,
        'class_id': texts,
        'text': texts,
        'points': stray_points,
        'point_labels': st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        'box': st.lists(boxes, min_size=1, max_size=1),
        'mask': st.lists(odd_images, min_size=1, max_size=1),
        'reference': st.lists(pictures | odd_images, min_size=1, max_size=1),
    }
    name = draw(st.sampled_from([None, *odd]))
    return ObjectPrompt(**fields | ({name: draw(odd[name])} if name else {}))


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A request; its header gets the stamp of the newest image plus `offset_ns`, None = 0."""

    kind: Any
    name: str
    fields: dict[str, Any]
    offset_ns: int | None = None


offsets = st.none() | st.none() | st.sampled_from([0, -33_000_000, -1, 1, -(10**12), 10**12])
several = st.lists(prompts(), min_size=1, max_size=2) | st.lists(prompts(), max_size=4)
requests = st.one_of(
    st.builds(
        lambda offset, **fields: Asked(AddObjects, 'add_objects', fields, offset),
        offsets, prompts=several, replace_existing=st.booleans(),
    ),
    st.builds(
        lambda offset, **fields: Asked(RefineObject, 'refine_object', fields, offset),
        offsets, prompt=prompts(),
    ),
    st.builds(
        lambda offset, **fields: Asked(SegmentOnce, 'segment_once', fields, offset),
        offsets, prompts=several, image=st.lists(pictures | odd_images, max_size=1),
    ),
    st.builds(
        lambda **fields: Asked(RemoveObjects, 'remove_objects', fields),
        object_ids=st.lists(names | texts, max_size=2),
    ),
    st.builds(
        lambda **fields: Asked(Find, 'find', fields),
        text=texts, max_objects=st.sampled_from([0, 1, 2, 2**32 - 1]),
        min_confidence=st.floats(0, 1, width=32) | st.floats(width=32),
        mode=st.sampled_from(['', 'once', 'keep_looking', 'until_found', 'stop', 'ever']),
    ),
    st.builds(lambda: Asked(Trigger, 'reset', {})),
)  # fmt: skip


@pytest.fixture(scope='module')
def asked(make_bench):
    bench = make_bench({'tracking.max_objects': 3})
    bench.watch = Watch(bench.node, '/robust_vos')
    bench.show()
    return bench


def ask(bench, request):
    """Send a request; return the name of the code of the answer."""
    fields = dict(request.fields)
    if hasattr(request.kind.Request(), 'header'):
        header, offset_ns = Header(), request.offset_ns
        stamp_ns = 0 if offset_ns is None else max(0, bench.stamp + offset_ns)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
        fields['header'] = header
    answer = bench.call(request.kind, f'/robust_vos/{request.name}', **fields)
    assert answer.message, request
    if request.kind is Trigger:
        assert answer.success, answer.message
        return 'OK'
    name = CODES[answer.error_code]  # a known one
    event(f'{request.name} {name}')
    assert answer.success == (name == 'OK')
    assert name not in {'INTERNAL', 'TIMEOUT', 'NOT_ACTIVE', 'QUEUE_FULL'}, answer.message
    return name


@settings(
    max_examples=NUM_EXAMPLES, deadline=None, derandomize=NUM_EXAMPLES == 90, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(several_requests=st.lists(requests, min_size=1, max_size=3))
def test_any_request_is_answered_and_the_next_frame_is_sound(asked, helpers, several_requests):
    bench = asked
    bench.call(Trigger, '/robust_vos/reset')  # searches by words end, too
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    before = live(bench.show())
    names = [ask(bench, request) for request in several_requests]
    after = live(bench.show())
    if 'OK' not in names:
        assert after == before, 'a refused request changes nothing'
    assert len(after) <= 3
    assert bench.watch.invariants.problems == []
    assert bench.counts.failed == 0
    assert bench.failures == []


def live(msg):
    return {item.object_id: bytes(item.uuid.uuid) for item in msg.objects}
