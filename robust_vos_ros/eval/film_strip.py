"""A film strip of the worst part of a sequence: images, masks, and published states."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.eval.absences import AbsenceScore, Rows, score_absences
from robust_vos_ros.eval.records import SequenceRecord
from robust_vos_ros.visualization import encode_jpeg, overlay

_WIDTH = 240  # px of one frame
_QUALITY = 80
_AROUND_S = (-0.7, -0.1, 0.2, 0.6)  # from the start of the absence
_AFTER_S = (-0.1, 0.3, 0.7, 1.2)  # from its end
_AROUND_WORST = (-6, -3, 0, 3, 6)  # frames
_COLORS = {
    ObjectState.TRACKED: (120, 255, 120),
    ObjectState.OCCLUDED: (255, 200, 80),
    ObjectState.LOST: (255, 110, 110),
}
_WHITE = (255, 255, 255)


class FilmStrip:
    """Keeps small images of all frames, and at the end returns a strip of a few of them.

    Args:
        object_ids: Of the sequence; the ground truth of the first 255 is drawn.
    """

    def __init__(self, object_ids: Sequence[int]) -> None:
        self._labels = {key: number for number, key in enumerate(object_ids[:255], 1)}
        self._tiles: list[bytes] = []  # JPEG: a sequence may be long
        self._truth: list[np.ndarray] = []

    def add(
        self,
        image: np.ndarray,
        label_mask: np.ndarray,
        masks: Mapping[int, np.ndarray] | None,
    ) -> None:
        """Take the next frame.

        Args:
            image: (H, W, 3) uint8, the input of the tracker.
            label_mask: (H, W), its output, drawn in colour.
            masks: (H, W) bool, true masks by object id; None = not labelled.
        """
        size = _WIDTH, max(1, round(image.shape[0] * _WIDTH / image.shape[1]))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = np.ascontiguousarray(label_mask.astype(np.uint8))
        tile = overlay(small, cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
        self._tiles.append(encode_jpeg(tile, _QUALITY))
        truth = np.zeros(size[::-1], np.uint8)
        for key, mask in (masks or {}).items():
            inside = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            truth[inside > 0] = self._labels.get(key, 0)
        self._truth.append(cv2.imencode('.png', truth)[1])

    def finish(self, record: SequenceRecord) -> str:
        """Return the strip of the worst absence or, without absences, of the worst frame.

        Args:
            record: Of the frames that were added.

        Returns:
            A JPEG in base64; the true mask of the object is outlined.
        """
        tables, rate_hz = record.tables(), record.rate_hz
        absence = _worst_absence(tables, rate_hz)
        if absence is not None:
            position, score = absence
            start, end = (tables[position].frames[0] + at for at in (score.start, score.end))
            frames = [start + round(s * rate_hz) for s in _AROUND_S]
            frames += [end + round(s * rate_hz) for s in _AFTER_S]
        else:
            position, worst = _worst_frame(tables)
            frames = [worst + step for step in _AROUND_WORST]
        chosen = sorted({min(max(0, int(frame)), len(self._tiles) - 1) for frame in frames})
        key = record.objects[position].object_id
        tiles = [self._tile(frame, key, tables[position], rate_hz) for frame in chosen]
        return base64.b64encode(encode_jpeg(np.hstack(tiles), _QUALITY)).decode()

    def _tile(self, frame: int, key: int, rows: Rows, rate_hz: int) -> np.ndarray:
        """Return (h, w, 3) uint8: a frame with the true mask and the state of an object."""
        data = np.frombuffer(self._tiles[frame], np.uint8)
        tile = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        truth = cv2.imdecode(self._truth[frame], cv2.IMREAD_GRAYSCALE)
        inside = (truth == self._labels.get(key)).view(np.uint8)
        lines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, lines, -1, _WHITE, 2)
        tile[:18] //= 3
        tile[-18:] //= 3
        where, state_text, color = 'no label', '', _WHITE
        for at in np.flatnonzero(rows.frames == frame):
            where = 'absent' if rows.absent[at] else f'{100 * rows.visible[at]:.0f}% visible'
            state = ObjectState(rows.state[at])
            state_text, color = (
                f'{state.name} {rows.confidence[at]:.2f}',
                _COLORS.get(state, _WHITE),
            )
        _write(tile, f'{frame / rate_hz:.1f} s  object {key}: {where}', 13, _WHITE)
        _write(tile, state_text, len(tile) - 5, color)
        return tile


def _worst_absence(tables: Sequence[Rows], rate_hz: int) -> tuple[int, AbsenceScore] | None:
    """Return the object and the worst absence, the earliest of equal ones."""
    found = [(k, s) for k, rows in enumerate(tables) for s in score_absences(rows, rate_hz)]
    return min(
        found,
        key=lambda item: (not item[1].false, item[1].kept is not False, item[1].start),
        default=None,
    )


def _worst_frame(tables: Sequence[Rows]) -> tuple[int, int]:
    """Return the object and the frame with the smallest J, after the frame of its prompt."""
    found = [
        (float(j), k, int(frame))
        for k, rows in enumerate(tables)
        for j, frame in zip(rows.j[1:], rows.frames[1:], strict=True)
    ]
    _, position, frame = min(found, default=(1.0, 0, int(tables[0].frames[0])))
    return position, frame


def _write(tile: np.ndarray, text: str, y: int, color: tuple[int, int, int]) -> None:
    cv2.putText(tile, text, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
