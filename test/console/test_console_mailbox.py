"""What waits for a browser is bounded, whatever the browser does."""

import asyncio

import pytest

from robust_vos_ros.console.mailbox import (
    MAX_ANSWERS,
    MAX_EVENTS,
    MAX_UNSEEN,
    Mailbox,
    RateLimit,
)


def take_all(mailbox):
    """Return all that can be sent now."""

    return list(iter(mailbox.take, None))


def test_the_newest_frame_wins_and_answers_go_first():
    mailbox = Mailbox()
    for number in range(5):
        mailbox.put_frame(b'%d' % number)
        mailbox.put_state({'type': 'status', 'number': number})
        mailbox.put_event({'type': 'event', 'number': number})
    mailbox.put_answer({'type': 'answer'})
    answer, status, *events, frame = take_all(mailbox)
    assert (answer['type'], status, frame) == ('answer', {'type': 'status', 'number': 4}, b'4')
    assert [event['number'] for event in events] == [0, 1, 2, 3, 4]
    assert (mailbox.num_skipped, len(mailbox)) == (4, 0)


def test_frames_wait_until_the_browser_has_seen_those_before():
    mailbox = Mailbox()
    sent = []
    for number in range(4):
        mailbox.put_frame(b'%d' % number)
        sent += take_all(mailbox)
    assert len(sent) == MAX_UNSEEN
    mailbox.put_event({'type': 'event'})
    assert take_all(mailbox) == [{'type': 'event'}]  # the rest does not wait for them
    mailbox.seen()
    assert take_all(mailbox) == [b'3']
    for _ in range(50):
        mailbox.seen()  # more thanks than frames buy nothing
    for number in range(10, 10 + 2 * MAX_UNSEEN):
        mailbox.put_frame(b'%d' % number)
        sent += take_all(mailbox)
    assert len(sent) == 2 * MAX_UNSEEN


def test_nothing_grows():
    mailbox = Mailbox()
    for number in range(1000):
        mailbox.put_frame(b'')
        mailbox.put_state({'type': f'state {number % 3}'})
        mailbox.put_event({'type': 'event', 'number': number})
        mailbox.put_answer({'type': 'answer', 'number': number})
    assert len(mailbox) == 1 + 3 + MAX_EVENTS + MAX_ANSWERS
    mailbox.drop_frame()
    items = take_all(mailbox)
    assert len(items) == 3 + MAX_EVENTS + MAX_ANSWERS
    assert items[-1] == {'type': 'event', 'number': 999}


def test_who_waits_is_woken():
    async def wait():
        mailbox = Mailbox()
        getting = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        mailbox.put_frame(b'x')
        return await asyncio.wait_for(getting, 5)

    assert asyncio.run(wait()) == b'x'


@pytest.mark.parametrize(
    ('times_s', 'expected'),
    [
        ([0.0] * 5, 3),  # a burst
        ([0.0] * 3 + [0.05, 0.11, 0.19, 0.21], 5),  # then one each 0.1 s
        ([0.0] * 3 + [100.0] * 5, 6),  # what was not used is not kept beyond the burst
    ],
)
def test_a_rate_limit(times_s, expected):
    now_s = [0.0]
    limit = RateLimit(10.0, 3, clock=lambda: now_s[0])
    passed = 0
    for now_s[0] in times_s:
        passed += limit.take()
    assert passed == expected
