"""Publishing of pictures on a thread of their own, so that no frame waits for them."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

MAX_WAITING = 8  # frames
_STOP_TIMEOUT_S = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A message that is costly to make.

    Attributes:
        publisher: Publishes it.
        make: Makes it; called on the thread of the pictures, so what it uses must not change.
        for_viewers: Whether only the newest one is of interest, as for people; false = that of
            each frame, as for a recorder.
    """

    publisher: Any
    make: Callable[[], Any]
    for_viewers: bool


class PictureThread:
    """Publishes the pictures of frames, the oldest frame first; starts at once.

    It never delays who offers. Behind by more than one frame, it leaves out what is for viewers;
    behind by `MAX_WAITING`, it drops the oldest frame.

    Args:
        on_error: Called on this thread with exceptions of `Picture.make` and of publishing.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._waiting: collections.deque[Sequence[Picture]] = collections.deque()
        self._num_dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        # Held while publishing: nothing is published once `close` had it.
        self._publishing = threading.Lock()
        # A daemon thread: the process must be able to end while DDS hangs.
        self._thread = threading.Thread(target=self._run, name='robust_vos pictures', daemon=True)
        self._thread.start()

    @property
    def num_dropped(self) -> int:
        """Number of pictures that were left out or dropped, except by `close`."""
        return self._num_dropped

    def offer(self, pictures: Sequence[Picture]) -> None:
        """Queue the pictures of the newest frame; ignored after `close`."""
        with self._changed:
            if self._closed or not pictures:
                return
            if len(self._waiting) == MAX_WAITING:
                self._num_dropped += len(self._waiting.popleft())
            self._waiting.append(pictures)
            self._changed.notify()

    def close(self) -> bool:
        """Drop what waits and end the thread; nothing is published afterwards.

        Returns:
            False if the thread is still making a picture after two seconds; it ends after that.
        """
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        with self._publishing:  # waits for a message that is being published
            pass
        self._thread.join(_STOP_TIMEOUT_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                pictures = self._waiting.popleft()
            for picture in pictures:
                if picture.for_viewers and len(self._waiting) > 1:
                    self._num_dropped += 1
                else:
                    self._publish(picture)

    def _publish(self, picture: Picture) -> None:
        try:
            msg = picture.make()
            with self._publishing:
                if not self._closed:
                    picture.publisher.publish(msg)
        except Exception as error:  # a bad picture must not end the thread
            self._on_error(error)
