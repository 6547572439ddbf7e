"""Results and depth that belong together."""

import threading
import time

import pytest

pytest.importorskip('rclpy')
from robust_vos_ros.node.depth_matcher import DepthMatcher

MS = 1_000_000
LONG_S = 60.0


def make(max_wait_s=LONG_S, queue_size=5):
    return DepthMatcher(tolerance_ns=20 * MS, max_wait_s=max_wait_s, queue_size=queue_size)


def offer(matcher, *, results=(), depths=()):
    """Items are named by their stamps in milliseconds."""
    for stamp in depths:
        matcher.offer_depth(stamp * MS, f'd{stamp}')
    for stamp in results:
        matcher.offer_result(stamp * MS, f'r{stamp}')


def drain(matcher):
    """All pairs that are certain now."""
    pairs = []
    with matcher._changed:
        while (pair := matcher._match()) is not None:
            pairs.append(pair)
    return pairs


@pytest.mark.parametrize(
    ('results', 'depths', 'pairs', 'reason'),
    [
        ([100], [100], ['r100 d100'], 'equal stamps'),
        ([100], [67, 95, 110], ['r100 d95'], 'the nearest one, not the first near enough'),
        ([100], [95], [], 'a nearer one may still come'),
        ([100], [130], [], 'too far'),
        ([100], [70, 130], [], 'too far on both sides'),
        ([100, 133], [100, 133], ['r100 d100', 'r133 d133'], 'in order'),
        ([100, 110], [105], ['r100 d105'], 'one depth may serve two; the second waits'),
        ([100], [], [], 'no depth at all'),
    ],
)
def test_pairs(results, depths, pairs, reason):
    matcher = make()
    offer(matcher, results=results, depths=depths)
    assert drain(matcher) == [tuple(pair.split()) for pair in pairs], reason


def test_depth_that_comes_later():
    matcher = make()
    offer(matcher, results=[100])
    assert drain(matcher) == []
    offer(matcher, depths=[95])
    assert drain(matcher) == []
    offer(matcher, depths=[128])
    assert drain(matcher) == [('r100', 'd95')]


def test_a_result_without_depth_does_not_hold_up_the_next():
    matcher = make()
    offer(matcher, results=[100, 200], depths=[200])
    assert drain(matcher) == [('r200', 'd200')]
    assert matcher.counts.without_depth == 1


def test_queues_are_bounded_and_losses_counted():
    matcher = make(queue_size=3)
    offer(matcher, results=range(0, 1000, 100))
    offer(matcher, depths=range(2000, 3000, 100))
    counts = matcher.counts
    assert (counts.results, counts.overrun) == (10, 7)
    assert (counts.depths, counts.depths_unused) == (10, 7)


def test_depth_that_was_used_is_not_counted_as_lost():
    matcher = make(queue_size=1)
    offer(matcher, results=[100], depths=[100])
    assert len(drain(matcher)) == 1
    offer(matcher, depths=[200, 300])
    assert matcher.counts.depths_unused == 1


def test_a_bag_that_starts_again():
    matcher = make()
    offer(matcher, depths=[90_000, 90_033], results=[90_000, 90_066])
    assert drain(matcher) == [('r90000', 'd90000')]
    offer(matcher, depths=[100, 133], results=[100, 133])
    assert drain(matcher) == [('r100', 'd100'), ('r133', 'd133')]
    assert matcher.counts.overrun == 1


def test_recent_losses_are_counted_apart_from_all():
    matcher = make()
    for stamp in range(0, 4000, 100):
        offer(matcher, results=[stamp], depths=[stamp if stamp < 3000 else stamp + 50])
        drain(matcher)
    counts = matcher.counts
    assert (counts.matched, counts.without_depth) == (30, 10)
    assert (counts.recent, counts.recent_lost) == (30, 10)


def test_the_tolerance_may_change():
    matcher = make()
    matcher.tolerance_ns = 40 * MS
    offer(matcher, results=[100], depths=[130])
    assert drain(matcher) == [('r100', 'd130')]


def test_a_small_step_back_keeps_the_queue():
    matcher = make()
    offer(matcher, depths=[1000, 990], results=[1000])
    assert drain(matcher) == [('r1000', 'd1000')]


def test_taking_waits_for_a_pair():
    matcher, taken = make(), []
    thread = threading.Thread(target=lambda: taken.append(matcher.take()))
    thread.start()
    offer(matcher, results=[100])
    offer(matcher, depths=[100])
    thread.join(30)
    assert taken == [('r100', 'd100')]


def test_a_result_gives_up_after_its_time():
    matcher, taken = make(max_wait_s=0.05), []
    thread = threading.Thread(target=lambda: taken.append(matcher.take()))
    thread.start()
    offer(matcher, results=[100])
    end = time.monotonic() + 30
    while not matcher.counts.late:
        assert time.monotonic() < end
        time.sleep(0.005)
    offer(matcher, results=[200], depths=[200])
    thread.join(30)
    assert taken == [('r200', 'd200')]


def test_a_result_whose_time_is_up_takes_what_is_near():
    matcher = make(max_wait_s=0.0)
    offer(matcher, results=[100], depths=[95])
    assert drain(matcher) == [('r100', 'd95')]


def test_closing_wakes_the_one_who_waits():
    matcher, taken = make(), []
    thread = threading.Thread(target=lambda: taken.append(matcher.take()))
    thread.start()
    matcher.close()
    thread.join(30)
    assert taken == [None]
