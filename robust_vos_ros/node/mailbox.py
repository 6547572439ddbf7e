"""Hand-over to the worker thread: a slot for the newest image, a bounded queue of requests."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Image = TypeVar('Image')
Request = TypeVar('Request')


@dataclasses.dataclass(frozen=True, slots=True)
class MailboxCounts:
    """Counts of images since creation; always offered = taken + dropped + pending.

    Attributes:
        dropped: Replaced by a newer image before they were taken.
        pending: 1 while an image waits, else 0.
    """

    offered: int
    taken: int
    dropped: int
    pending: int


class Mailbox(Generic[Image, Request]):
    """Any thread may offer, one takes. A newer image replaces the waiting one."""

    def __init__(self, max_requests: int, changed: threading.Condition) -> None:
        """Create an open, empty mailbox.

        Args:
            max_requests: Maximum number of waiting requests, and also of waiting urgent ones.
            changed: Its lock guards the mailbox; notified when an image or request arrives.
        """
        self._max_requests = max_requests
        self._requests: collections.deque[Request] = collections.deque()
        self._urgent: collections.deque[Request] = collections.deque()
        self._image: Image | None = None
        self._offered = self._taken = self._dropped = 0
        self._closed = False
        self._changed = changed

    def offer_image(self, image: Image) -> None:
        """Offer an image; a closed mailbox counts it as dropped."""
        with self._changed:
            self._offered += 1
            if self._closed:
                self._dropped += 1
                return
            self._dropped += self._image is not None
            self._image = image
            self._changed.notify()

    def offer_request(self, request: Request, *, urgent: bool = False) -> bool:
        """Queue a request; returns False if the queue is full or the mailbox closed."""
        queue = self._urgent if urgent else self._requests
        with self._changed:
            if self._closed or len(queue) >= self._max_requests:
                return False
            queue.append(request)
            self._changed.notify()
            return True

    @property
    def is_filled(self) -> bool:
        """Whether an image or request waits."""
        return bool(self._urgent or self._requests or self._image is not None)

    def take_image(self) -> Image | None:
        """Take the waiting image, if any, without blocking."""
        with self._changed:
            image, self._image = self._image, None
            self._taken += image is not None
            return image

    def take_request(self) -> Request | None:
        """Take the oldest urgent request, else the oldest request, if any, without blocking."""
        with self._changed:
            queue = self._urgent or self._requests
            return queue.popleft() if queue else None

    def offer_in_place_of(
        self, request: Request, is_pointless: Callable[[Request], bool]
    ) -> list[Request] | None:
        """Atomically queue an urgent request and withdraw those that it makes pointless.

        Args:
            request: The urgent request.
            is_pointless: Predicate on waiting requests that are not urgent.

        Returns:
            The withdrawn requests; None if the queue is full or the mailbox closed.
        """
        with self._changed:
            if not self.offer_request(request, urgent=True):
                return None
            pointless = [item for item in self._requests if is_pointless(item)]
            for item in pointless:
                self._requests.remove(item)
            return pointless

    def discard(self, request: Request) -> None:
        """Withdraw a request, if it still waits."""
        with self._changed:
            for queue in (self._urgent, self._requests):
                if request in queue:
                    queue.remove(request)

    def is_waiting(self, condition: Callable[[Request], bool]) -> bool:
        """Whether a request that is not urgent and satisfies a predicate waits."""
        with self._changed:
            return any(condition(item) for item in self._requests)

    def close(self) -> list[Request]:
        """Refuse everything from now on, drop the image, and return the waiting requests."""
        with self._changed:
            self._closed = True
            self._dropped += self._image is not None
            self._image = None
            requests = [*self._urgent, *self._requests]
            self._urgent.clear()
            self._requests.clear()
            return requests

    @property
    def counts(self) -> MailboxCounts:
        """A consistent snapshot of the counters."""
        with self._changed:
            pending = int(self._image is not None)
            return MailboxCounts(self._offered, self._taken, self._dropped, pending)
