"""Requests of browsers to the services of one node."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from rcl_interfaces.srv import GetParameters
from robust_vos.msg import ObjectPrompt
from robust_vos.srv import AddObjects, Find, ListObjects, RefineObject, RemoveObjects, SegmentOnce
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from robust_vos_ros.client.asking import RefusedError, ask, ask_about_image
from robust_vos_ros.client.connection import Connection
from robust_vos_ros.console import views
from robust_vos_ros.console.source import Stamp
from robust_vos_ros.ros_types.images import read_values, to_frame

SERVICES = {
    'add_objects': AddObjects,
    'refine_object': RefineObject,
    'remove_objects': RemoveObjects,
    'list_objects': ListObjects,
    'segment_once': SegmentOnce,
    'find': Find,
    'reset': Trigger,
    'get_parameters': GetParameters,
}
# Longer than the node's prompt_timeout_s.
ANSWER_S = 12.0
_GONE = ('STAMP_TOO_OLD', 'STAMP_UNKNOWN', 'NO_IMAGE')
_NO_FIND = (
    'this node has no service ~/find, so it finds nothing by words; start one of a newer version'
)
_PARAMETER, _PARAMETER_S = 'tracking.prompt_buffer_s', 1.0


class Requests:
    """Calls services of a node; the methods block until the answer, and are thread-safe.

    Args:
        name: Full name of the node.
        connection: Has clients of SERVICES below that name.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self._name, self._connection = name, connection

    def read_buffer_s(self) -> float | None:
        """Return how long the node keeps images for prompts; None if it does not answer.

        Raises:
            ClientError: The connection is closed.
        """
        request = GetParameters.Request(names=[_PARAMETER])
        name = f'{self._name}/get_parameters'
        answer = self._connection.call(name, request, _PARAMETER_S)
        return answer.values[0].double_value if answer is not None and answer.values else None

    def why_no_words(self) -> str:
        """Return why a node that runs cannot search by words, as a sentence; empty if it can.

        Raises:
            ClientError: The connection is closed.
        """
        return '' if self._connection.sees(f'{self._name}/find') else _NO_FIND

    def preview(self, stamp: Stamp, prompt: ObjectPrompt, kept: Any | None) -> dict[str, Any]:
        """Segment a prompt without tracking it.

        Args:
            stamp: Of the prompted image.
            prompt: The prompt.
            kept: Message of that image, in case the node no longer has it.

        Raises:
            RefusedError, ClientError: As in `ask`.
        """
        request = SegmentOnce.Request(header=_to_header(stamp), prompts=[prompt])
        name = f'{self._name}/segment_once'
        try:
            answer = ask_about_image(self._connection, name, request, ANSWER_S)
        except RefusedError as error:
            if kept is None or error.code not in _GONE:
                raise
            request.image = [_to_rgb_message(kept)]
            answer = ask(self._connection, name, request, ANSWER_S)
        labels = read_values(answer.label_mask)
        objects = [views.to_object(item, labels) for item in answer.objects]
        return {'message': answer.message, 'objects': objects}

    def add(self, stamp: Stamp, prompt: ObjectPrompt) -> dict[str, Any]:
        """Start tracking an object; errors as in `preview`."""
        request = AddObjects.Request(header=_to_header(stamp), prompts=[prompt])
        name = f'{self._name}/add_objects'
        answer = ask_about_image(self._connection, name, request, ANSWER_S)
        return {'message': answer.message, 'object_id': prompt.object_id}

    def refine(self, stamp: Stamp, prompt: ObjectPrompt) -> dict[str, Any]:
        """Correct an object; errors as in `preview`."""
        request = RefineObject.Request(header=_to_header(stamp), prompt=prompt)
        name = f'{self._name}/refine_object'
        answer = ask_about_image(self._connection, name, request, ANSWER_S)
        return {'message': answer.message, 'object_id': prompt.object_id}

    def find(self, text: str, max_objects: int, mode: str) -> dict[str, Any]:
        """Find things by words in the newest image, and track them; errors as in `preview`."""
        name = f'{self._name}/find'
        request = Find.Request(text=text, max_objects=max_objects, mode=mode)
        answer = ask(self._connection, name, request, ANSWER_S)
        found = [
            [object_id, round(confidence, 3)]
            for object_id, confidence in zip(answer.object_ids, answer.confidences, strict=True)
        ]
        return {'message': answer.message, 'found': found, 'searching': answer.searching}

    def remove(self, object_ids: list[str]) -> dict[str, Any]:
        """Stop tracking objects; errors as in `preview`."""
        request = RemoveObjects.Request(object_ids=object_ids)
        answer = ask(self._connection, f'{self._name}/remove_objects', request, ANSWER_S)
        return {'message': answer.message, 'removed': list(answer.removed)}

    def reset(self) -> dict[str, Any]:
        """Remove all objects; errors as in `preview`."""
        answer = ask(self._connection, f'{self._name}/reset', Trigger.Request(), ANSWER_S)
        return {'message': answer.message}


def _to_header(stamp: Stamp) -> Header:
    header = Header()
    header.stamp.sec, header.stamp.nanosec = stamp
    return header


def _to_rgb_message(msg: Any) -> Image:
    """Return the same image as rgb8."""
    rgb = np.ascontiguousarray(to_frame(msg).rgb)
    height, width = rgb.shape[:2]
    data = array.array('B', rgb.tobytes())
    return Image(
        header=msg.header, height=height, width=width, encoding='rgb8', step=3 * width, data=data
    )
