"""The checks of threads with ROBUST_VOS_DEBUG=1, and that they are off without it."""

import threading

import pytest

pytest.importorskip('rclpy')
from robust_vos_ros.node import threads
from robust_vos_ros.node.mailbox import Mailbox

pytestmark = pytest.mark.ros


@pytest.fixture
def debug(monkeypatch):
    monkeypatch.setenv('ROBUST_VOS_DEBUG', '1')


def in_thread(function):
    """Run a function in another thread; return its exception or None."""
    found = []

    def run():
        try:
            function()
        except AssertionError as error:
            found.append(error)

    thread = threading.Thread(target=run, name='another')
    thread.start()
    thread.join(10)
    return found[0] if found else None


def test_nothing_is_wrapped_without_debugging():
    assert type(threads.make_lock('mailbox')) is type(threading.Lock())
    target = object()
    assert threads.owned(target, threads.Owner()) is target


def test_locks_are_taken_in_order(debug):
    first, last = threads.make_lock('mailbox'), threads.make_lock('statistics')
    with first, last:
        pass
    with last, pytest.raises(AssertionError, match="'mailbox' is taken while 'statistics' is"):
        first.acquire()
    assert in_thread(first.acquire) is None  # another thread holds nothing
    assert not first.acquire(blocking=False)


def test_a_reentrant_lock_and_a_condition_work_as_without_debugging(debug):
    changed = threads.make_condition('mailbox')
    mailbox, taken = Mailbox(2, changed), []

    def take():
        with changed:
            changed.wait_for(lambda: mailbox.is_filled, 10)
        taken.append(mailbox.take_image())

    taker = threading.Thread(target=take)
    taker.start()
    mailbox.offer_image('image')
    taker.join(10)
    assert taken == ['image']
    assert mailbox.offer_in_place_of('urgent', lambda _: True) == []  # takes its lock twice
    assert threads._stack() == []


def test_an_object_has_one_owner_until_it_is_released(debug):
    class Target:
        value, result = 1, 2

    owner = threads.Owner()
    target = threads.owned(Target(), owner, shared=frozenset({'result'}))
    assert target.value == 1
    error = in_thread(lambda: target.value)
    assert "Target.value is used by 'another', but 'MainThread' owns it" in str(error)
    assert in_thread(lambda: target.result) is None
    assert 'owns it' in str(in_thread(lambda: setattr(target, 'value', 2)))
    owner.release()
    assert in_thread(lambda: setattr(target, 'value', 3)) is None
    with pytest.raises(AssertionError):
        target.value += 1
