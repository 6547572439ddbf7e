"""Map exceptions to the codes of robust_vos/ErrorCode in service responses."""

from __future__ import annotations

from robust_vos.msg import ErrorCode

from robust_vos_ros.core import errors
from robust_vos_ros.node.worker import (
    CancelledError,
    NotActiveError,
    QueueFullError,
    RequestTimeoutError,
)

# The first match counts, so subclasses precede their base classes.
ERROR_CODES: tuple[tuple[type[Exception], str], ...] = (
    (errors.NoFrameError, 'NO_IMAGE'),
    (errors.StampTooOldError, 'STAMP_TOO_OLD'),
    (errors.StampInFutureError, 'STAMP_IN_FUTURE'),
    (errors.StampUnknownError, 'STAMP_UNKNOWN'),
    (errors.DuplicateIdError, 'DUPLICATE_ID'),
    (errors.UnknownIdError, 'UNKNOWN_ID'),
    (errors.CapacityError, 'CAPACITY'),
    (errors.PromptError, 'BAD_PROMPT'),
    (errors.ImageError, 'BAD_PROMPT'),
    (QueueFullError, 'QUEUE_FULL'),
    (NotActiveError, 'NOT_ACTIVE'),
    (RequestTimeoutError, 'TIMEOUT'),
    (CancelledError, 'CANCELLED'),
)


def error_name(error: Exception) -> str:
    """Return the name of an exception's ErrorCode; INTERNAL for unexpected ones."""
    return next((name for kind, name in ERROR_CODES if isinstance(error, kind)), 'INTERNAL')


def error_code(name: str) -> int:
    """Return the value of an ErrorCode by name."""
    return int(getattr(ErrorCode, name))
