"""The messages of a browser, which are validated before use.

Each message is a JSON object with a `type`. A message with an `id` gets one answer with that id.
The first message is `hello`. Stamps are [seconds, nanoseconds] of an image; pixels are x right, y
down, in the image as the camera publishes it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from robust_vos_ros.core.errors import RobustVosError

PROTOCOL = 1  # increased with each incompatible change
MAX_MESSAGE_BYTES = 16_384
MAX_POINTS = 64
MAX_IDS = 64
MAX_FOUND = 64  # of one search by words
_MAX_TEXT = 256  # as in the node
_MAX_ERRORS = 3


class ProtocolError(RobustVosError):
    """A message is invalid.

    Attributes:
        message_id: Of the message; None if it has no valid one.
    """

    def __init__(self, text: str, message_id: int | None = None) -> None:
        super().__init__(text)
        self.message_id = message_id


class Message(pydantic.BaseModel):
    """Base class of all messages: no unknown fields, no type conversion."""

    model_config = pydantic.ConfigDict(extra='forbid', strict=True, frozen=True)


Id = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
Seconds = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
Nanoseconds = Annotated[int, pydantic.Field(ge=0, lt=10**9)]
Stamp = tuple[Seconds, Nanoseconds]
Pixel = Annotated[float, pydantic.Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Label = Annotated[int, pydantic.Field(ge=0, le=1)]
# No control characters in names; NUL would end a ROS string.
Text = Annotated[str, pydantic.Field(max_length=_MAX_TEXT, pattern=r'^[^\x00-\x1f\x7f]*$')]
Name = Annotated[Text, pydantic.Field(min_length=1)]


class Hello(Message):
    """The first message: protocol version, token, and node to show (empty = the default one)."""

    type: Literal['hello']
    protocol: Annotated[int, pydantic.Field(ge=0, lt=2**31)]
    token: Text = ''
    node: Text = ''


class Watch(Message):
    """Show another node."""

    type: Literal['watch']
    id: Id
    node: Name


class Seen(Message):
    """Acknowledges a frame."""

    type: Literal['seen']


class Freeze(Message):
    """The image of this stamp is frozen: keep it for previews."""

    type: Literal['freeze']
    stamp: Stamp


class Pointing(Message):
    """Clicks (x, y, 1 on the object or 0 not on it) and a box (x0, y0, x1, y1) on one image."""

    id: Id
    stamp: Stamp
    points: Annotated[list[tuple[Pixel, Pixel, Label]], pydantic.Field(max_length=MAX_POINTS)] = []
    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = None

    @property
    def has_marks(self) -> bool:
        """Whether there are points or a box."""
        return bool(self.points) or self.box is not None

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing."""
        return not self.has_marks

    @pydantic.model_validator(mode='after')
    def _check_not_empty(self) -> Pointing:
        if self.is_empty:
            raise ValueError('expected points or a box, got none; point at something first')
        return self


class Preview(Pointing):
    """Segment a prompt without tracking it."""

    type: Literal['preview']


class Add(Pointing):
    """Track a new object."""

    type: Literal['add']
    object_id: Name
    class_id: Text = ''


class Refine(Pointing):
    """Correct a tracked object, or its class alone; an empty class does not change its class."""

    type: Literal['refine']
    object_id: Name
    class_id: Text = ''

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing."""
        return not self.has_marks and not self.class_id


class Find(Message):
    """Find things by words: in the newest image of a node, or in the image of a bag.

    Mode, number and stamp are as in robust_vos/srv/Find; a bag needs the stamp, a node does not.
    """

    type: Literal['find']
    id: Id
    text: Name
    max_objects: Annotated[int, pydantic.Field(ge=1, le=MAX_FOUND)] = 1
    mode: Literal['once', 'until_found', 'keep_looking', 'stop'] = 'once'
    stamp: Stamp | None = None


class Remove(Message):
    """Stop tracking objects: those of a bag after the image of the stamp, else now."""

    type: Literal['remove']
    id: Id
    object_ids: Annotated[list[Name], pydantic.Field(min_length=1, max_length=MAX_IDS)]
    stamp: Stamp | None = None


class Reset(Message):
    """Remove all objects; of a bag, delete all prompts."""

    type: Literal['reset']
    id: Id


class Seek(Message):
    """Show an image of a bag by its index."""

    type: Literal['seek']
    id: Id
    index: Annotated[int, pydantic.Field(ge=0, lt=2**31)]


class Delete(Message):
    """Delete a prompt for a bag."""

    type: Literal['delete']
    id: Id
    number: Annotated[int, pydantic.Field(ge=0, lt=2**31)]


Command = (
    Hello | Watch | Seen | Freeze | Preview | Add | Refine | Find | Remove | Reset | Seek | Delete
)  # fmt: skip
_PARSER: pydantic.TypeAdapter[Command] = pydantic.TypeAdapter(
    Annotated[Command, pydantic.Field(discriminator='type')]
)


class _Addressed(pydantic.BaseModel):
    """The id of an invalid message, to answer it."""

    model_config = pydantic.ConfigDict(strict=True)
    id: Id


def parse(text: str) -> Command:
    """Parse a message.

    Raises:
        ProtocolError: The message is invalid; the text says what was expected.
    """
    try:
        if len(text) > MAX_MESSAGE_BYTES:
            raise ProtocolError(
                f'expected messages of at most {MAX_MESSAGE_BYTES} characters, got {len(text)}'
            )
        return _PARSER.validate_json(text)
    except pydantic.ValidationError as error:
        raise ProtocolError(_describe(error), _read_id(text)) from None


def _describe(error: pydantic.ValidationError) -> str:
    """Describe a validation error without the values, which may include a token."""
    items = error.errors(include_input=False, include_url=False)
    lines = [
        f'{".".join(map(str, item["loc"][1:])) or "message"}: {item["msg"]}'
        for item in items[:_MAX_ERRORS]
    ]
    return '; '.join(lines)


def _read_id(text: str) -> int | None:
    try:
        return _Addressed.model_validate_json(text).id
    except pydantic.ValidationError:
        return None


def make_answer(message_id: int | None, result: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a successful message."""
    return {'type': 'answer', 'id': message_id, 'ok': True, **result}


def make_refusal(message_id: int | None, code: str, message: str) -> dict[str, Any]:
    """Return the answer to a failed message: an error code and a sentence."""
    return {'type': 'answer', 'id': message_id, 'ok': False, 'code': code, 'message': message}
