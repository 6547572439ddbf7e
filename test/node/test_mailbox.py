"""The hand-over between threads: newest wins, nothing is lost uncounted."""

import threading

import pytest

from robust_vos_ros.node.mailbox import Mailbox


def make(max_requests):
    return Mailbox(max_requests, threading.Condition())


def test_newest_image_wins():
    box = make(max_requests=1)
    for image in 'abc':
        box.offer_image(image)
    assert box.take_image() == 'c'
    assert box.take_image() is None
    counts = box.counts
    assert (counts.offered, counts.taken, counts.dropped, counts.pending) == (3, 1, 2, 0)


def test_requests_are_served_in_order_and_bounded():
    box = make(max_requests=2)
    assert [box.offer_request(number) for number in range(3)] == [True, True, False]
    assert [box.take_request() for _ in range(3)] == [0, 1, None]


def test_urgent_requests_go_first_and_have_room_of_their_own():
    box = make(max_requests=2)
    assert all([box.offer_request('a'), box.offer_request('b')])
    assert [box.offer_request(number, urgent=True) for number in range(3)] == [True, True, False]
    assert [box.take_request() for _ in range(5)] == [0, 1, 'a', 'b', None]


def test_an_urgent_request_takes_the_place_of_others_if_it_is_accepted():
    box = make(max_requests=3)
    for request in 'abc':
        box.offer_request(request)
    for request in 'uv':
        box.offer_request(request, urgent=True)
    assert box.offer_in_place_of('now', lambda item: item != 'b') == ['a', 'c']
    assert box.offer_in_place_of('more', lambda _: True) is None
    assert [box.take_request() for _ in range(5)] == ['u', 'v', 'now', 'b', None]


@pytest.mark.parametrize('urgent', [False, True])
def test_a_discarded_request_leaves_its_place(urgent):
    box = make(max_requests=1)
    assert box.offer_request('gone', urgent=urgent)
    box.discard('gone')
    box.discard('never there')
    assert box.offer_request('next', urgent=urgent)
    assert [box.take_request(), box.take_request()] == ['next', None]


def test_only_requests_that_are_not_urgent_count_as_waiting():
    box = make(max_requests=1)
    box.offer_request('now', urgent=True)
    assert not box.is_waiting(lambda _: True)
    box.offer_request('a')
    assert [box.is_waiting(lambda item, x=x: item == x) for x in 'ab'] == [True, False]


def test_images_do_not_push_out_requests():
    box = make(max_requests=1)
    box.offer_request('r')
    box.offer_image('a')
    assert (box.take_request(), box.take_image()) == ('r', 'a')


def test_closing_gives_back_requests_and_refuses_more():
    box = make(max_requests=3)
    box.offer_request('r')
    box.offer_request('u', urgent=True)
    box.offer_image('a')
    assert box.close() == ['u', 'r']
    assert not box.offer_request('s')
    box.offer_image('b')
    assert not box.is_filled
    assert box.take_image() is None
    counts = box.counts
    assert (counts.offered, counts.taken, counts.dropped, counts.pending) == (2, 0, 2, 0)


@pytest.mark.parametrize('wake', ['image', 'request'])
def test_who_waits_is_woken(wake):
    changed = threading.Condition()
    box = Mailbox(1, changed)
    answers = []

    def wait():
        with changed:
            answers.append(changed.wait_for(lambda: box.is_filled, 10))

    thread = threading.Thread(target=wait)
    thread.start()
    {'image': box.offer_image, 'request': box.offer_request}[wake]('a')
    thread.join(10)
    assert answers == [True]


def test_counters_are_exact_between_threads():
    box = make(max_requests=1)
    num_threads, num_images = 3, 2000
    taken = []
    bad = []
    ended = threading.Event()

    def offer(base):
        for number in range(num_images):
            box.offer_image((base, number))
            counts = box.counts
            if counts.offered != counts.taken + counts.dropped + counts.pending:
                bad.append(counts)

    def take():
        while not ended.is_set():
            image = box.take_image()
            if image is not None:
                taken.append(image)

    taker = threading.Thread(target=take)
    taker.start()
    threads = [threading.Thread(target=offer, args=(base,)) for base in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    box.close()
    ended.set()
    taker.join(10)
    assert not bad
    counts = box.counts
    assert counts.offered == num_threads * num_images
    assert counts.taken == len(taken)
    assert counts.offered == counts.taken + counts.dropped
    for base in range(num_threads):  # never an older image after a newer one
        numbers = [number for who, number in taken if who == base]
        assert numbers == sorted(numbers)
