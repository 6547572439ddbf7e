"""One watched node: its images with the tracked objects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from robust_vos.msg import TrackedObjectArray, TrackEvent
from sensor_msgs.msg import CompressedImage, Image

from robust_vos_ros.client.client import RESULTS_QOS
from robust_vos_ros.client.connection import Connection
from robust_vos_ros.client.frames import FrameJoiner, decode
from robust_vos_ros.console import views
from robust_vos_ros.console.graph import ImageTopic
from robust_vos_ros.console.pictures import RecentImages, make_picture, stamp_of
from robust_vos_ros.console.requests import SERVICES, Requests
from robust_vos_ros.console.settings import ConsoleSettings
from robust_vos_ros.console.source import Stamp
from robust_vos_ros.core.errors import RobustVosError

# Images are shown without objects if the node publishes none for this time.
SILENT_S = 1.5
# The connection is renewed if nothing arrives from a working node for this time.
_RECONNECT_S = 6.0
_RATE = 'processed rate (Hz)'  # of its diagnostics
_ASK_AGAIN_S = 5.0
_IMAGES = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.BEST_EFFORT)
_EVENTS = QoSProfile(depth=50)


class Camera:
    """Connection to a robust_vos node on behalf of browsers.

    The given callbacks run in threads of this class.

    Attributes:
        name: Full name of the node.
        health: The newest diagnostics and their arrival (time.monotonic()); None before.
        buffer_s: Maximum age of the image of a prompt; None while unknown.
        requests: Calls the services of the node.
        no_words: Why the node cannot search by words, as a sentence; empty if it can.
    """

    def __init__(
        self,
        name: str,
        settings: ConsoleSettings,
        *,
        show: Callable[[bytes], None],
        tell: Callable[[dict[str, Any]], None],
        domain_id: int | None = None,
    ) -> None:
        """Connect.

        Args:
            name: Full name of the node.
            settings: Of the console.
            show: Called with every frame, encoded for the page.
            tell: Called with every event.
            domain_id: Of ROS; None = ROS_DOMAIN_ID.
        """
        self.name = name
        self.health: tuple[dict[str, Any], float] | None = None
        self.buffer_s: float | None = None
        self.no_words = ''
        self._settings, self._show, self._tell = settings, show, tell
        self._images = RecentImages()
        self._joiner = FrameJoiner()
        self._parts: dict[type, Any] | None = None
        self._heard_s = self._parts_s = time.monotonic()
        self._asked_s = -_ASK_AGAIN_S
        self._shown: Stamp | None = None
        self._topic: ImageTopic | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._changed = threading.Condition()
        self._closed = False
        services = {f'{name}/{service}': kind for service, kind in SERVICES.items()}
        self._connection = connection = Connection(services, domain_id)
        self.requests = Requests(name, connection)
        joined = self._receive_result
        connection.subscribe(TrackedObjectArray, f'{name}/objects', joined, RESULTS_QOS)
        connection.subscribe(CompressedImage, f'{name}/label_mask/compressed', joined, RESULTS_QOS)
        connection.subscribe(TrackEvent, f'{name}/events', self._receive_event, _EVENTS)
        connection.subscribe(
            DiagnosticArray, '/diagnostics', self._receive_health, QoSProfile(depth=10)
        )
        self._thread = threading.Thread(target=self._run, name=f'pictures of {name}', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect; waiting calls raise a ClientError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._connection.close()
        self._thread.join()

    def follow(self, topic: ImageTopic | None) -> None:
        """Subscribe to an image topic, and learn what the node can do.

        Args:
            topic: Image topic of the node; None = keep the previous one.

        Raises:
            ClientError: The connection is closed.
        """
        if topic is not None and topic != self._topic:
            if self._unsubscribe is not None:
                self._unsubscribe()
            kind = CompressedImage if topic.compressed else Image
            self._unsubscribe = self._connection.subscribe(
                kind, topic.name, self._receive_image, _IMAGES
            )
            self._topic = topic
        self.no_words = self.requests.why_no_words()
        if time.monotonic() - self._asked_s > _ASK_AGAIN_S:
            self.buffer_s = self.requests.read_buffer_s() or self.buffer_s
            self._asked_s = time.monotonic()

    def image_at(self, stamp: Stamp) -> Any | None:
        """Return the message of a recent image by stamp, or None."""
        with self._changed:
            return self._images.find(stamp)

    @property
    def silent_s(self) -> float:
        """Time since the node last published objects with masks."""
        return time.monotonic() - self._parts_s

    @property
    def is_disconnected(self) -> bool:
        """Whether the node's diagnostics report processing, but no results arrive.

        With DDS this occasionally happens to the first subscriptions of a process, not to later
        ones.
        """
        now_s = time.monotonic()
        health, told_s = self.health or ({'values': {}}, 0.0)
        try:
            works = float(health['values'].get(_RATE) or 0) > 0
        except ValueError:
            works = False
        return works and told_s > self._heard_s and now_s - self._heard_s > _RECONNECT_S

    def _receive_image(self, msg: Any) -> None:
        with self._changed:
            self._images.add(msg)

    def _receive_result(self, msg: Any) -> None:
        parts = self._joiner.add(msg)
        with self._changed:
            self._heard_s = time.monotonic()
            if parts is not None:
                self._parts, self._parts_s = parts, self._heard_s
                self._changed.notify_all()

    def _receive_event(self, msg: Any) -> None:
        self._tell(views.to_event(msg))

    def _receive_health(self, msg: Any) -> None:
        health = views.to_health(msg.status, self.name)
        if health is not None:
            self.health = (health, time.monotonic())

    def _run(self) -> None:
        """Make frames of the newest images, at most `picture_rate_hz` per second."""
        pause_s = 1.0 / self._settings.picture_rate_hz
        while not self._closed:
            start_s = time.monotonic()
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._parts is not None, pause_s)
                parts, self._parts = self._parts, None
                image = None
                if parts is not None:
                    image = self._images.find(stamp_of(parts[TrackedObjectArray]))
                elif self.silent_s > SILENT_S:
                    image = self._images.newest()
            try:
                frame = self._make_frame(parts, image)
            except (RobustVosError, ValueError) as error:  # invalid messages of other nodes
                frame = None
                self._tell({'type': 'problem', 'message': f'a frame cannot be shown: {error}'})
            if frame is not None and not self._closed:
                self._show(frame)
            with self._changed:
                rest_s = start_s + pause_s - time.monotonic()
                self._changed.wait_for(lambda: self._closed, max(0.0, rest_s))

    def _make_frame(self, parts: dict[type, Any] | None, image: Any | None) -> bytes | None:
        """Return the frame of a result, or of a new image without a result."""
        settings, picture = self._settings, None
        if parts is None and (image is None or stamp_of(image) == self._shown):
            return None
        if image is not None:
            self._shown = stamp_of(image)
            picture = make_picture(
                image, max_width=settings.picture_width, quality=settings.jpeg_quality
            )
        if parts is None:
            assert picture is not None
            head = views.to_frame(None, None, stamp=list(self._shown or ()), size=picture.size)
        else:
            masked = decode(parts)
            msg = masked.array
            head = views.to_frame(
                msg, masked.labels, stamp=list(stamp_of(msg)), size=(msg.width, msg.height)
            )
        head['node'] = self.name
        return views.pack(head, b'' if picture is None else picture.data)
