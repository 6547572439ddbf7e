"""A film strip of one absence: what was seen, what was published, and what was claimed of it."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.eval.long import Rows, Verdict, judge
from robust_vos_ros.visualization import overlay

_SIDE = 240  # px of one frame
_QUALITY = 80
_AROUND_S = (-0.7, -0.1, 0.2, 0.6)  # from the start of the absence
_AFTER_S = (-0.1, 0.3, 0.7, 1.2)  # from its end
_COLORS = {
    ObjectState.TRACKED: (120, 255, 120),
    ObjectState.OCCLUDED: (255, 200, 80),
    ObjectState.LOST: (255, 110, 110),
}
_WHITE = (255, 255, 255)


class FilmMaker:
    """Keeps small pictures of all frames, and at the end shows those around one absence."""

    def __init__(self) -> None:
        self._tiles: list[np.ndarray] = []  # encoded: a clip is long
        self._truth: list[np.ndarray] = []

    def add(self, image: np.ndarray, label_mask: np.ndarray, truth: np.ndarray) -> None:
        """Take the next frame.

        Args:
            image: (S, S, 3) uint8, as the tracker saw it.
            label_mask: (S, S) uint8, what it made of it.
            truth: (S, S) uint8, k + 1 where object k is.
        """
        size = (_SIDE, _SIDE)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(label_mask, size, interpolation=cv2.INTER_NEAREST)
        tile = overlay(small, labels)[..., ::-1]
        self._tiles.append(cv2.imencode('.jpg', tile, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))[1])
        true = cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST)
        self._truth.append(cv2.imencode('.png', true)[1])

    def finish(self, objects: Sequence[Rows], rate_hz: float) -> str:
        """Return a JPEG in base64 of the absence that went worst; empty if there was none.

        Args:
            objects: The table of each object, in the order of its labels.
            rate_hz: Frames per second.
        """
        chosen = _worst(objects, rate_hz)
        if chosen is None:
            return ''
        index, verdict = chosen
        frames = [verdict.start + round(s * rate_hz) for s in _AROUND_S]
        frames += [verdict.end + round(s * rate_hz) for s in _AFTER_S]
        frames = sorted({min(max(0, frame), len(self._tiles) - 1) for frame in frames})
        tiles = [self._tile(frame, index, objects[index], rate_hz) for frame in frames]
        strip = np.hstack(tiles)[..., ::-1]
        code = cv2.imencode('.jpg', strip, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))[1]
        return base64.b64encode(code.tobytes()).decode()

    def _tile(self, frame: int, index: int, rows: Rows, rate_hz: float) -> np.ndarray:
        tile = np.ascontiguousarray(cv2.imdecode(self._tiles[frame], cv2.IMREAD_COLOR)[..., ::-1])
        truth = cv2.imdecode(self._truth[frame], cv2.IMREAD_GRAYSCALE)
        inside = (truth == index + 1).view(np.uint8)
        lines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, lines, -1, _WHITE, 2)
        state = ObjectState(rows.state[frame])
        where = 'absent' if rows.absent[frame] else f'{100 * rows.visible[frame]:.0f}% visible'
        tile[:18] //= 3
        tile[-18:] //= 3
        _write(tile, f'{frame / rate_hz:.1f} s  object {index + 1}: {where}', 13, _WHITE)
        claim = f'{state.name} {rows.confidence[frame]:.2f}'
        _write(tile, claim, _SIDE - 5, _COLORS.get(state, _WHITE))
        return tile


def _worst(objects: Sequence[Rows], rate_hz: float) -> tuple[int, Verdict] | None:
    """Return the object and the absence that went worst, the earliest of equal ones."""
    found = [(k, verdict) for k, rows in enumerate(objects) for verdict in judge(rows, rate_hz)]
    return min(
        found,
        key=lambda item: (not item[1].false, item[1].kept is not False, item[1].start),
        default=None,
    )


def _write(tile: np.ndarray, text: str, y: int, color: tuple[int, int, int]) -> None:
    cv2.putText(tile, text, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
