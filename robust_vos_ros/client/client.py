"""A client of the node: prompts objects, and iterates over frames with their masks."""

from __future__ import annotations

import collections
import time
import uuid
from collections.abc import Iterator
from typing import Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from robust_vos.msg import TrackedObject, TrackedObjectArray
from robust_vos.srv import AddObjects, Find, ListObjects, RefineObject, RemoveObjects
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from robust_vos_ros.client.asking import RETRY_S, NotFoundError, ask, ask_about_image, why_silent
from robust_vos_ros.client.connection import ClientError, ClosedError, Connection
from robust_vos_ros.client.frames import FrameJoiner, MaskedFrame, decode, explain_missing
from robust_vos_ros.client.prompts import to_prompt_message

SERVICES = {
    'add_objects': AddObjects,
    'find': Find,
    'refine_object': RefineObject,
    'remove_objects': RemoveObjects,
    'list_objects': ListObjects,
    'reset': Trigger,
}
# As the node publishes results: reliable, with a depth of a second.
RESULTS_QOS = QoSProfile(depth=30, reliability=QoSReliabilityPolicy.RELIABLE)
# Best effort is compatible with every publisher; only the newest image is needed.
_IMAGES = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
_ANSWER_S = 1.0


class RobustVos:
    """A connection to a running node; use it as a context manager.

    It has its own ROS context and thread, so it needs no rclpy.init() and no spinning, and its
    methods may be called from any thread, also from callbacks. Iterating yields every processed
    frame with its masks, oldest first; a slow program misses the oldest ones.

    Args:
        name: Name of the node, with its namespace.
        timeout_s: Timeout for the node to become active, for answers and for frames. The node
            answers nothing while it loads its model.
        queue_size: Most frames that wait for a slow program.
        domain_id: ROS domain; None = ROS_DOMAIN_ID.

    Raises:
        ClientError: The node did not become active in time.
    """

    def __init__(
        self,
        name: str = 'robust_vos',
        *,
        timeout_s: float = 30.0,
        queue_size: int = 10,
        domain_id: int | None = None,
    ) -> None:
        self._name = f'/{name.strip("/")}'
        self._timeout_s = timeout_s
        self._joiner = FrameJoiner()
        self._frames: collections.deque[dict[type, Any]] = collections.deque(maxlen=queue_size)
        services = {f'{self._name}/{service}': kind for service, kind in SERVICES.items()}
        self._connection = Connection(services, domain_id)
        subscribe = self._connection.subscribe
        subscribe(TrackedObjectArray, f'{self._name}/objects', self._receive, RESULTS_QOS)
        subscribe(
            CompressedImage, f'{self._name}/label_mask/compressed', self._receive, RESULTS_QOS
        )
        try:
            self._wait_until_active()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RobustVos:
        """Return the client, which is connected."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Leave the ROS graph; iterations end."""
        self._connection.close()

    def next_image(self, topic: str) -> Image | CompressedImage:
        """Return the next image of a topic; on `.../compressed` it is JPEG or PNG.

        Raises:
            ClientError: No image was received in time.
        """
        kind = CompressedImage if topic.endswith('/compressed') else Image
        received: list[Any] = []
        unsubscribe = self._connection.subscribe(
            kind, f'/{topic.lstrip("/")}', received.append, _IMAGES
        )
        try:
            return self._connection.wait(
                lambda: received[0] if received else None,
                self._timeout_s,
                lambda: f'an image on {topic}',
            )
        finally:
            unsubscribe()

    def add(
        self, object_id: str = '', *, on: Any = None, replace: bool = False, **prompt: Any
    ) -> TrackedObject:
        """Start tracking an object.

        Args:
            object_id: Name of the object; empty = a new one.
            on: The prompted image, or any message with its header; None = the newest image.
            replace: Replace a live object of the same id.
            prompt: class_id, box, points, labels, mask, text, as in `to_prompt_message`; with
                `reference` the object starts LOST and is searched for, and `on` is not used.

        Returns:
            The object in the newest frame.

        Raises:
            RefusedError: The node refuses; `code` and text give the reason.
            ClientError: There is no answer.
            PromptError: The prompt is malformed.
            NotFoundError: What `text` alone names is not in view; it is added when it is found.
        """
        object_id = object_id or f'object_{uuid.uuid4().hex[:8]}'
        prompts = [to_prompt_message(object_id, **prompt)]
        request = AddObjects.Request(
            header=_header_of(on), prompts=prompts, replace_existing=replace
        )
        answer = self._ask_about_image('add_objects', request)
        if not answer.objects:
            raise NotFoundError(answer.message)
        return answer.objects[0]

    def find(
        self,
        text: str,
        *,
        max_objects: int = 1,
        min_confidence: float = 0.0,
        mode: str = 'once',
    ) -> dict[str, float]:
        """Find things by words in the newest image, and track them.

        Args:
            text: The expression, such as "the red mug".
            max_objects: Maximum number of things.
            min_confidence: Minimum confidence in [0, 1]; 0 = as the node is set.
            mode: once, until_found, keep_looking or stop; see srv/Find.

        Returns:
            Confidence by object id, the most probable first; empty = nothing like it in view.

        Raises:
            RefusedError: The node refuses; `code` and text give the reason.
            ClientError: There is no answer.
        """
        request = Find.Request(
            text=text, max_objects=max_objects, min_confidence=min_confidence, mode=mode
        )
        answer = self._ask_about_image('find', request)
        return dict(zip(answer.object_ids, answer.confidences, strict=True))

    def refine(self, object_id: str, *, on: Any = None, **prompt: Any) -> TrackedObject:
        """Correct a live object; arguments, result and errors as in `add`."""
        request = RefineObject.Request(
            header=_header_of(on), prompt=to_prompt_message(object_id, **prompt)
        )
        return self._ask_about_image('refine_object', request).object

    def remove(self, *object_ids: str) -> list[str]:
        """Stop tracking objects, or all if no id is given; return their ids.

        Raises:
            RefusedError: An id is unknown; nothing is removed.
            ClientError: There is no answer.
        """
        request = RemoveObjects.Request(object_ids=list(object_ids))
        return list(self._ask('remove_objects', request).removed)

    def reset(self) -> None:
        """Remove all objects, and forget all frames; errors as in `remove`."""
        self._ask('reset', Trigger.Request())

    def __iter__(self) -> Iterator[MaskedFrame]:
        """Return the client itself."""
        return self

    def __next__(self) -> MaskedFrame:
        """Return the next processed frame with its masks.

        Raises:
            ClientError: None was received in time; the message says what was.
        """
        before = self._joiner.counts.copy()

        def what() -> str:
            reason = explain_missing(self._joiner.counts - before)
            return f'a frame of {self._name} with its masks; {reason}'

        try:
            parts = self._connection.wait(
                lambda: self._frames.popleft() if self._frames else None, self._timeout_s, what
            )
        except ClosedError:
            raise StopIteration from None
        return decode(parts)

    def _ask_about_image(self, service: str, request: Any) -> Any:
        name = f'{self._name}/{service}'
        return ask_about_image(self._connection, name, request, self._timeout_s)

    def _ask(self, service: str, request: Any) -> Any:
        return ask(self._connection, f'{self._name}/{service}', request, self._timeout_s)

    def _wait_until_active(self) -> None:
        end_s = time.monotonic() + self._timeout_s
        name, refusal = f'{self._name}/list_objects', ''
        while (left_s := end_s - time.monotonic()) > 0:
            # Repeated: a server that has not discovered its new client yet loses the answer.
            answer = self._connection.call(name, ListObjects.Request(), min(_ANSWER_S, left_s))
            if answer is None:
                refusal = '' if left_s >= _ANSWER_S else refusal  # else the time was too short
            elif not answer.success:
                refusal = answer.message
            elif self._connection.complete:
                return
            else:
                refusal = 'not all of its services and topics can be seen yet'
            time.sleep(RETRY_S)
        raise ClientError(
            f'{self._name} did not become active within {self._timeout_s:g} s: '
            f'{refusal or why_silent(self._connection, name)}'
        )

    def _receive(self, msg: Any) -> None:
        parts = self._joiner.add(msg)
        if parts is not None:
            self._frames.append(parts)


def _header_of(on: Any) -> Header:
    """Return the header of the prompted image; an empty one means the newest image."""
    return Header() if on is None else getattr(on, 'header', on)
