"""Results of a run on disk; a run that was killed is resumed from its last checkpoint."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

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


# Texts of errors that do not mean a damaged file; Python 3.10 has no error codes for them.
_BUSY = ('locked',)
_DISK_PROBLEMS = ('unable to open', 'readonly', 'disk is full', 'disk I/O error')


class Journal:
    """Results of finished frames and the saved tracker after them, in an SQLite file.

    Results become permanent together with the checkpoint after them. Only one thread at a time may
    use it.

    Args:
        path: The file; created if it is missing.
        key: Everything that results depend on. A file with another key, or a damaged one, is
            replaced by an empty one.

    Raises:
        BagError: Another process uses the file.
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
        """Return the journal, which is open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; results after the last checkpoint are lost."""
        self._database.close()

    def results(self, frame: int) -> list[RawMessage]:
        """Return the results of one frame in the order they were added."""
        rows = self._database.execute(
            'SELECT topic, msgtype, cdr, stamp_ns FROM result WHERE frame = ? ORDER BY rowid',
            (frame,),
        )
        return [RawMessage(*row) for row in rows]

    def problems(self) -> list[tuple[int, str]]:
        """Return (frame, reason) of the images that could not be used."""
        return self._database.execute('SELECT frame, text FROM problem ORDER BY frame').fetchall()

    def add(self, frame: int, results: Iterable[RawMessage]) -> None:
        """Add the results of one frame."""
        self._database.executemany(
            'INSERT INTO result VALUES (?, ?, ?, ?, ?)',
            [(frame, m.topic, m.msgtype, m.stamp_ns, m.cdr) for m in results],
        )

    def add_problem(self, frame: int, text: str) -> None:
        """Add the reason why an image could not be used."""
        self._database.execute('INSERT INTO problem VALUES (?, ?)', (frame, text))

    def checkpoint(self, num_frames: int, saved: bytes) -> None:
        """Make all results so far permanent, with what the next frames depend on."""
        self._database.execute('DELETE FROM checkpoint')
        row = (num_frames, saved, hashlib.sha256(saved).hexdigest())
        self._database.execute('INSERT INTO checkpoint VALUES (?, ?, ?)', row)
        self._database.commit()

    def _resume(self, path: Path, key: str) -> bool:
        """Load the last checkpoint; return whether the file is intact and has this key."""
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
                    f'{path.parent}: another process uses this folder ({error}); wait for its end'
                ) from error
            if _says(error, _DISK_PROBLEMS):
                raise
            return False
        if same and row is not None:
            num_frames, saved, sha256 = row
            if hashlib.sha256(saved).hexdigest() != sha256:
                return False
            self.num_frames, self.saved = num_frames, saved
        return same

    def _open(self, path: Path) -> None:
        # Opened by the main thread, then used by the writing thread alone.
        self._database = sqlite3.connect(path, timeout=0.0, check_same_thread=False)
        self._database.execute('PRAGMA locking_mode = EXCLUSIVE')
        self._database.executescript(_TABLES)
        # The lock lasts until the file is closed.
        self._database.execute('BEGIN IMMEDIATE')
        self._database.commit()


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    return any(word in str(error) for word in words)
