"""Images kept for prompts with a past stamp."""

import array

import pytest

pytest.importorskip('sensor_msgs')
from sensor_msgs.msg import Image

from robust_vos_ros.core.errors import (
    NoFrameError,
    StampInFutureError,
    StampTooOldError,
    StampUnknownError,
)
from robust_vos_ros.node.received_images import ReceivedImages

pytestmark = pytest.mark.ros

NS = 10**9


def make(stamp_ns, num_bytes=100):
    msg = Image(data=array.array('B', bytes(num_bytes)))
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp_ns, NS)
    return msg


def filled(*stamps_s, max_age_s=2.0, max_bytes=10**6):
    buffer = ReceivedImages(max_age_s=max_age_s, max_bytes=max_bytes)
    for stamp_s in stamps_s:
        buffer.append(make(round(stamp_s * NS)))
    return buffer


def test_finds_the_exact_stamp():
    buffer = ReceivedImages(max_age_s=2.0, max_bytes=10**6)
    msgs = [make(NS + number) for number in range(3)]
    for msg in msgs:
        buffer.append(msg)
    assert buffer.find(NS + 1) is msgs[1]
    assert buffer.newest() is msgs[2]


def test_of_equal_stamps_the_newest_counts():
    buffer = ReceivedImages(max_age_s=2.0, max_bytes=10**6)
    msgs = [make(NS), make(NS)]
    for msg in msgs:
        buffer.append(msg)
    assert buffer.find(NS) is msgs[1]


def test_bounded_in_time():
    buffer = filled(*(0.1 * number for number in range(100)))
    assert 20 <= len(buffer) <= 21


def test_bounded_in_bytes():
    buffer = filled(*(0.01 * number for number in range(100)), max_bytes=1000)
    assert len(buffer) == 10
    assert buffer.num_bytes == 1000


@pytest.mark.parametrize('limits', [{'max_age_s': 0.0}, {'max_bytes': 0}])
def test_always_keeps_the_newest(limits):
    buffer = filled(1.0, 2.0, 3.0, **limits)
    assert len(buffer) == 1
    assert buffer.num_bytes == 100


def test_clear():
    buffer = filled(1.0)
    buffer.clear()
    assert (len(buffer), buffer.num_bytes) == (0, 0)


@pytest.mark.parametrize(
    ('stamps_s', 'wanted_s', 'error', 'words'),
    [
        ((), 1.0, NoFrameError, 'no image has been received'),
        ((5.0, 6.0), 6.1, StampInFutureError, 'not arrived yet; the buffer holds 5.0.* to 6.0'),
        ((5.0, 6.0), 4.9, StampTooOldError, 'not in the buffer.*no image came before'),
        (
            (5.0, 6.0),
            5.6,
            StampUnknownError,
            'no image with exactly.*nearest is 6.0.*Copy',
        ),  # a gap
    ],
)
def test_what_is_not_there(stamps_s, wanted_s, error, words):
    with pytest.raises(error, match=words):
        filled(*stamps_s).find(round(wanted_s * NS))


TIME, MEMORY = 'tracking.prompt_buffer_s', 'input.prompt_buffer_mb'


@pytest.mark.parametrize(
    ('limits', 'wanted_s', 'advice'),
    [
        ({'max_age_s': 4.0}, 3.0, f'raise {TIME}$'),
        ({'max_age_s': 30.0, 'max_bytes': 300}, 6.0, f'raise {MEMORY}$'),
        ({'max_age_s': 4.0, 'max_bytes': 300}, 6.0, f'raise {MEMORY}$'),  # not so long ago
        ({'max_age_s': 4.0, 'max_bytes': 300}, 3.0, f'raise {TIME} and {MEMORY}$'),
    ],
)
def test_an_error_names_the_setting_that_limits(limits, wanted_s, advice):
    with pytest.raises(StampTooOldError, match=advice):
        filled(*range(10), **limits).find(round(wanted_s * NS))
