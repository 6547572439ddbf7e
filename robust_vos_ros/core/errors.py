"""Exceptions of robust_vos; node/ and demo/ derive a few more from the same base class.

RobustVosError
├── ConfigError             a setting, a model file or a command line is wrong
├── WeightsError            a checkpoint is missing, truncated or belongs to another model
├── SavedTracksError        saved tracks are damaged or belong to another model
├── DatasetError            a data set on disk cannot be read as asked
├── BagError                a bag is missing, damaged, cut off, empty or lacks what was asked for
├── ImageError              an image cannot be used (encoding, step, size, data)
└── PromptError             a prompt cannot be used
    ├── NoFrameError        there is no frame to apply the prompt to
    ├── StampTooOldError    the frame with that stamp has left the buffer
    ├── StampInFutureError  the frame with that stamp has not arrived
    ├── StampUnknownError   no frame between others that are kept has that stamp
    ├── DuplicateIdError    the object_id is already tracked
    ├── UnknownIdError      no live object has that object_id
    └── CapacityError       max_objects would be exceeded

Each message says what was expected, what was received and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class RobustVosError(Exception):
    """Base class of all exceptions that robust_vos raises deliberately."""


class ConfigError(RobustVosError):
    """A setting, a model file or a command line is wrong."""


class WeightsError(RobustVosError):
    """A checkpoint is missing, truncated or belongs to another model."""


class SavedTracksError(RobustVosError):
    """Saved tracks are damaged, or belong to another model or other settings."""


class DatasetError(RobustVosError):
    """A data set on disk cannot be read as asked."""


class BagError(RobustVosError):
    """A bag is missing, damaged, cut off, empty or lacks what was asked for."""


class ImageError(RobustVosError):
    """An image cannot be used."""


class PromptError(RobustVosError):
    """A prompt cannot be used."""


class NoFrameError(PromptError):
    """There is no frame to apply the prompt to."""


class StampTooOldError(PromptError):
    """The frame with the prompt's stamp has left the buffer."""


class StampInFutureError(PromptError):
    """The frame with the prompt's stamp has not arrived."""


class StampUnknownError(PromptError):
    """The prompt's stamp lies between those of frames that are kept; none has it."""


class DuplicateIdError(PromptError):
    """The object_id is already tracked."""


class UnknownIdError(PromptError):
    """No live object has that object_id."""


class CapacityError(PromptError):
    """max_objects would be exceeded."""


def advise_too_old(limits: Sequence[str]) -> str:
    """Return what to do about a stamp older than all images kept.

    Args:
        limits: Settings that keep the buffer from reaching back to the stamp.
    """
    if not limits:
        return 'no image came before; use the stamp of a newer one'
    return f'prompt sooner, or raise {" and ".join(limits)}'
