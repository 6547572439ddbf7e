"""Pictures are published by a thread of their own: in order, bounded, and not after the end."""

import threading

import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CompressedImage, Image

from robust_vos_ros.node import messages
from robust_vos_ros.node.pictures import MAX_WAITING, Picture, PictureThread

pytestmark = pytest.mark.ros

TIMEOUT_S = 20


class Recorder:
    """A publisher that notes what it gets."""

    def __init__(self, until):
        self.published, self.done, self._until = [], threading.Event(), until

    def publish(self, msg):
        self.published.append(msg)
        if msg == self._until:
            self.done.set()


@pytest.fixture
def gate():
    """A function that holds the thread until `leave` is set."""

    def hold():
        entered.set()
        assert leave.wait(TIMEOUT_S)
        return 'held'

    entered, leave = threading.Event(), threading.Event()
    hold.entered, hold.leave = entered, leave
    yield hold
    leave.set()


def start(gate, errors=None):
    """Start a thread that is held in its first picture."""
    thread = PictureThread((errors if errors is not None else []).append)
    thread.offer([Picture(Recorder(None), gate, for_viewers=False)])
    assert gate.entered.wait(TIMEOUT_S)
    return thread


def test_a_slow_picture_costs_old_pictures_for_viewers_and_then_old_frames(gate):
    count = MAX_WAITING + 3
    masks, overlays = Recorder(count - 1), Recorder(count - 1)
    thread = start(gate)
    for number in range(count):
        thread.offer(
            [
                Picture(masks, lambda number=number: number, for_viewers=False),
                Picture(overlays, lambda number=number: number, for_viewers=True),
            ]
        )
    gate.leave.set()
    assert overlays.done.wait(TIMEOUT_S)
    assert masks.published == list(range(3, count))
    assert overlays.published == [count - 2, count - 1]
    assert thread.num_dropped == 2 * 3 + MAX_WAITING - 2
    assert thread.close()


def test_an_error_is_reported_and_the_next_picture_follows():
    errors, recorder = [], Recorder('good')

    def fail():
        raise MemoryError('no room')

    thread = PictureThread(errors.append)
    thread.offer(
        [
            Picture(recorder, fail, for_viewers=True),
            Picture(recorder, lambda: 'good', for_viewers=True),
        ]
    )
    assert recorder.done.wait(TIMEOUT_S)
    assert [str(error) for error in errors] == ['no room']
    assert thread.close()


def test_nothing_is_published_after_close(gate):
    held, later = Recorder(None), Recorder(None)
    thread = PictureThread([].append)
    thread.offer([Picture(held, gate, for_viewers=False)])
    assert gate.entered.wait(TIMEOUT_S)
    thread.offer([Picture(later, lambda: 'later', for_viewers=False)])
    threading.Timer(0.1, gate.leave.set).start()  # while `close` waits for the thread
    assert thread.close()
    thread.offer([Picture(later, lambda: 'later', for_viewers=False)])
    assert held.published == later.published == []


def test_masks_do_not_wait_for_an_overlay(make_bench, helpers, monkeypatch):
    """Objects and masks come at once, overlays later in their order, none after deactivation."""
    bench = make_bench()
    overlays = bench.listen(Image, '/robust_vos/overlay')
    masks = bench.listen(Image, '/robust_vos/label_mask')
    pngs = bench.listen(CompressedImage, '/robust_vos/label_mask/compressed')
    entered, leave, draw = threading.Event(), threading.Event(), messages.to_overlay

    def draw_slowly(*arguments):
        entered.set()
        assert leave.wait(TIMEOUT_S)
        return draw(*arguments)

    monkeypatch.setattr(messages, 'to_overlay', draw_slowly)
    shown = [bench.show() for _ in range(3)]
    bench.wait(lambda: len(masks) == 3, 'the masks')
    assert [msg.header for msg in masks] == [msg.header for msg in shown]
    assert entered.is_set()
    assert not overlays
    leave.set()
    bench.wait(lambda: len(overlays) == 3, 'the overlays')
    stamps = [helpers.stamp_ns(msg.header) for msg in overlays]
    assert stamps == [helpers.stamp_ns(msg.header) for msg in shown]
    bench.wait(lambda: len(pngs) == 3, 'the compressed masks')
    assert [msg.header for msg in pngs] == [msg.header for msg in shown]

    entered.clear()
    leave.clear()
    bench.show()
    bench.wait(entered.is_set, 'an overlay in the making')
    threading.Timer(0.1, leave.set).start()
    change(bench, Transition.TRANSITION_DEACTIVATE)
    bench.wait(lambda: len(pngs) == 4, 'the last mask before the overlay')
    change(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait_for_input()
    shown = bench.show()
    bench.wait(lambda: len(overlays) > 3, 'the next overlay')
    assert overlays[3].header == shown.header  # that of before the deactivation never came


def change(bench, number):
    transition = Transition(id=number)
    assert bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success
