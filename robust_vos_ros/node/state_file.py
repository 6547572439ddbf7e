"""The state file, from which a restarted node restores its objects.

The file is replaced atomically: a crash leaves the old or the new one. A file with unusable
content is renamed, not overwritten. A file that cannot be read or written is an error.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from rclpy.impl.rcutils_logger import RcutilsLogger

from robust_vos_ros.core.errors import ConfigError, SavedTracksError
from robust_vos_ros.core.saving.format import read_notes
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.node import class_ids
from robust_vos_ros.node.class_ids import ClassIds
from robust_vos_ros.node.threads import make_condition

_THROTTLE_S = 60.0


class StateFile:
    """Loads and saves the tracks of one tracker.

    Call `load`, `keep` and `finish` from the thread that owns the tracker; another thread writes.

    Args:
        path: Of the file; empty = no state file.
        logger: Of the node.
        classes: Saved with the tracks.
    """

    def __init__(self, path: str, logger: RcutilsLogger, classes: ClassIds) -> None:
        self._path = Path(path).expanduser()
        self._classes = classes
        self._saved_classes = ''  # class table in the file or being written
        self._logger = logger
        self._wanted = bool(path)
        self._writer: _Writer | None = None
        self._saved: frozenset[uuid.UUID] = frozenset()  # objects in the file or being written
        self._saved_s = float('-inf')

    def check(self) -> None:
        """Check that the file can be read and written.

        Raises:
            ConfigError: The file cannot be read or written.
        """
        if self._wanted:
            with self._explain():
                _check_usable(self._path)

    def load(self, tracker: VideoTracker) -> None:
        """Restore the tracks of the file, if it exists, and start the writing thread.

        Raises:
            ConfigError: The file cannot be read.
        """
        if not self._wanted:
            return
        with self._explain():
            self._restore(tracker)
        self._writer = _Writer(self._path, self._logger)

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f'state_file: expected a file that can be read and written, got {self._path} '
                f'({error.strerror}); correct the path or its permissions, or leave it empty'
            ) from error

    def _restore(self, tracker: VideoTracker) -> None:
        try:
            data = self._path.read_bytes()
            notes = read_notes(data)
            tracker.restore(data, lost=True)
        except FileNotFoundError:
            self._logger.info(f'{self._path} does not exist yet: starting without objects')
        except SavedTracksError as error:
            self._rename_unusable(str(error))
        else:
            self._saved = tracker.uuids
            self._logger.info(f'restored {len(self._saved)} objects of {self._path}')
            self._restore_classes(notes.get(class_ids.NOTE))

    def _restore_classes(self, text: str | None) -> None:
        if text is None:  # of an earlier version
            return
        try:
            self._classes.load(text)
        except ValueError as error:
            # The logger of ROS knows no exception().
            self._logger.error(f'classes get new pixel values: {self._path}: {error}')  # noqa: TRY400
        else:
            self._saved_classes = text

    def keep(self, tracker: VideoTracker, interval_s: float) -> None:
        """Save if objects were removed or classes added, or if the interval has passed.

        Args:
            tracker: Owner of the tracks.
            interval_s: Time between regular writes.
        """
        writer, live = self._writer, tracker.uuids
        if writer is None:
            return
        long_ago = time.monotonic() - self._saved_s >= interval_s
        due = long_ago and not writer.busy and (bool(live) or writer.failed)
        new_classes = self._classes.dump() != self._saved_classes and bool(live)
        if due or self._saved - live or new_classes:
            self._save(tracker, writer)

    def finish(self, tracker: VideoTracker, timeout_s: float) -> None:
        """Save, unless there are no objects here and in the file; wait until all is written."""
        writer = self._writer
        if writer is None:
            return
        if tracker.uuids or self._saved or writer.failed:
            self._save(tracker, writer)
        if not writer.wait(timeout_s):
            self._logger.error(f'{self._path} was not written within {timeout_s:g} s')

    def close(self) -> None:
        """End the writing thread after its last write."""
        if self._writer is not None:
            self._writer.close()

    def _save(self, tracker: VideoTracker, writer: _Writer) -> None:
        self._saved_s = time.monotonic()
        classes = self._classes.dump()
        try:
            writer.offer(tracker.save({class_ids.NOTE: classes}))
        except Exception as error:  # must not fail the frame or request
            text = f'cannot save the objects: {type(error).__name__}: {error}'
            self._logger.error(text, throttle_duration_sec=_THROTTLE_S)  # noqa: TRY400  ROS knows no exception()
        else:
            self._saved, self._saved_classes = tracker.uuids, classes

    def _rename_unusable(self, problem: str) -> None:
        number = 1
        while (aside := self._path.with_name(f'{self._path.name}.refused-{number}')).exists():
            number += 1
        self._path.rename(aside)
        # The logger of ROS knows no exception().
        self._logger.error(
            f'starting without objects, {self._path} is now {aside.name}: {problem}'
        )


class _Writer:
    """A thread that replaces a file; newer content replaces waiting content."""

    def __init__(self, path: Path, logger: RcutilsLogger) -> None:
        self.failed = False
        self._path = path
        self._logger = logger
        self._changed = make_condition('state file')
        self._data: bytes | None = None
        self._writing = self._closed = False
        # A daemon thread: the process must be able to end while the disk hangs.
        threading.Thread(target=self._run, name='robust_vos state file', daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether content is being written or waits."""
        return self._writing or self._data is not None

    def offer(self, data: bytes) -> None:
        with self._changed:
            self._data = data
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all is written; returns False after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.busy, timeout_s)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._data is not None)
                data, self._data = self._data, None
                if data is None:
                    return
                self._writing = True
            self._write(data)
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        try:
            replace_file(self._path, data)
        except OSError as error:
            self.failed = True
            text = f'cannot write {self._path}: {error.strerror}; trying again'
            self._logger.error(text, throttle_duration_sec=_THROTTLE_S)  # noqa: TRY400  as above
        else:
            self.failed = False


def _check_usable(path: Path) -> None:
    """Raise OSError unless the file, if it exists, can be read, and `replace_file` can write.

    The file itself is not changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError), path.open('rb'):
        pass
    new = _beside(path)
    new.touch()
    new.unlink()


def _beside(path: Path) -> Path:
    return path.with_name(f'{path.name}.new')


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, also in case of a power failure.

    Raises:
        OSError: The file cannot be written; the old file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(path)
    with new.open('wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the new name durable
    finally:
        os.close(folder)
