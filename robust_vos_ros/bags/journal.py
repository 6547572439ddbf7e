"""What a run has found so far, on disk: a run that was killed goes on from its last checkpoint."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.core.errors import BagError

_TABLES = """
CREATE TABLE IF NOT EXISTS job (key TEXT);
CREATE TABLE IF NOT EXISTS checkpoint (num_frames INTEGER, saved BLOB, sha256 TEXT);
CREATE TABLE IF NOT EXISTS result
  (frame INTEGER, topic TEXT, msgtype TEXT, stamp_ns INTEGER, cdr BLOB);
CREATE TABLE IF NOT EXISTS problem (frame INTEGER, text TEXT);
CREATE INDEX IF NOT EXISTS result_frame ON result (frame);
"""


# Words of errors that do not mean damage; Python 3.10 does not tell their codes.
_BUSY = ('locked',)
_SURROUNDINGS = ('unable to open', 'readonly', 'disk is full', 'disk I/O error')


class Journal:
    """Results of finished frames and the saved tracker after them, in an SQLite file.

    Results become permanent with the checkpoint after them, both or neither, whatever happens to
    the process. One thread at a time may use it.

    Args:
        path: The file, made if it is missing.
        key: All that results depend on; a file of another key, or a damaged one, is begun anew.

    Raises:
        BagError: Another process has it open.
        sqlite3.OperationalError: The disk is full, or the file cannot be opened.

    Attributes:
        num_frames: Frames before the last checkpoint.
        saved: The tracker at the last checkpoint, None without one.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.num_frames = 0
        self.saved: bytes | None = None
        if not self._resume(path, key):
            self._database.close()
            path.unlink()
            self._open(path)
            self._database.execute('INSERT INTO job VALUES (?)', (key,))
            self._database.commit()

    def __enter__(self) -> Journal:
        """Do nothing: it is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; results after the last checkpoint are dropped."""
        self._database.close()

    def results(self, frame: int) -> list[RawMessage]:
        """Return the results of one frame in the order they were added."""
        rows = self._database.execute(
            'SELECT topic, msgtype, cdr, stamp_ns FROM result WHERE frame = ? ORDER BY rowid',
            (frame,),
        )
        return [RawMessage(*row) for row in rows]

    def problems(self) -> list[tuple[int, str]]:
        """Return the frames that could not be used, and why."""
        return self._database.execute('SELECT frame, text FROM problem ORDER BY frame').fetchall()

    def add(self, frame: int, results: Iterable[RawMessage]) -> None:
        """Add the results of one frame."""
        self._database.executemany(
            'INSERT INTO result VALUES (?, ?, ?, ?, ?)',
            [(frame, m.topic, m.msgtype, m.stamp_ns, m.cdr) for m in results],
        )

    def add_problem(self, frame: int, text: str) -> None:
        """Note why a frame could not be used."""
        self._database.execute('INSERT INTO problem VALUES (?, ?)', (frame, text))

    def checkpoint(self, num_frames: int, saved: bytes) -> None:
        """Make all results so far permanent, with what the next frames depend on."""
        self._database.execute('DELETE FROM checkpoint')
        row = (num_frames, saved, hashlib.sha256(saved).hexdigest())
        self._database.execute('INSERT INTO checkpoint VALUES (?, ?, ?)', row)
        self._database.commit()

    def _resume(self, path: Path, key: str) -> bool:
        """Load the last checkpoint; return whether the file is whole and of this key."""
        try:
            self._open(path)
            if self._database.execute('PRAGMA quick_check').fetchone() != ('ok',):
                return False
            same = self._database.execute('SELECT key FROM job').fetchone() == (key,)
            row = self._database.execute(
                'SELECT num_frames, saved, sha256 FROM checkpoint'
            ).fetchone()
        except sqlite3.DatabaseError as error:
            if _says(error, _BUSY):
                raise BagError(
                    f'{path.parent}: another process is at work there ({error})'
                ) from error
            if _says(error, _SURROUNDINGS):
                raise
            return False
        if same and row is not None:
            num_frames, saved, sha256 = row
            if hashlib.sha256(saved).hexdigest() != sha256:
                return False
            self.num_frames, self.saved = num_frames, saved
        return same

    def _open(self, path: Path) -> None:
        # The writing thread uses what the main thread opened, one after the other.
        self._database = sqlite3.connect(path, timeout=0.0, check_same_thread=False)
        self._database.execute('PRAGMA locking_mode = EXCLUSIVE')
        self._database.executescript(_TABLES)
        # Locks the file until it is closed.
        self._database.execute('BEGIN IMMEDIATE')
        self._database.commit()


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    return any(word in str(error) for word in words)
