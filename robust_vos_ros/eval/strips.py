"""A strip of frames around the one that was tracked worst, small enough for a report."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from robust_vos_ros.visualization import overlay

_WIDTH = 208  # px of one frame
_NUM_FRAMES = 5
_STEP = 3  # frames from one picture to the next
_QUALITY = 70


class StripMaker:
    """Keeps small pictures of all frames, and at the end a few of them."""

    def __init__(self) -> None:
        self._tiles: list[np.ndarray] = []  # encoded: a sequence may be long
        self._scores: list[float] = []

    def add(
        self,
        image: np.ndarray,
        label_mask: np.ndarray,
        truth: dict[int, np.ndarray],
        score: float,
    ) -> None:
        """Take the next frame.

        Args:
            image: (H, W, 3) uint8, as the tracker saw it.
            label_mask: (H, W), what it made of it, drawn in colour.
            truth: (H, W) bool masks, whose outlines are drawn in white.
            score: Of the worst object, in [0, 1].
        """
        size = _WIDTH, max(1, round(image.shape[0] * _WIDTH / image.shape[1]))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = np.ascontiguousarray(label_mask.astype(np.uint8))
        tile = overlay(small, cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
        for mask in truth.values():
            inside = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            lines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, lines, -1, (255, 255, 255), 1)
        self._tiles.append(_encode(tile))
        self._scores.append(score)

    def finish(self) -> str:
        """Return a JPEG in base64 of the frames around the worst one."""
        worst = int(np.argmin(self._scores))
        half = _NUM_FRAMES // 2 * _STEP
        start = min(max(0, worst - half), max(0, len(self._tiles) - 2 * half - 1))
        chosen = range(start, min(start + 2 * half + 1, len(self._tiles)), _STEP)
        tiles = [_label(cv2.imdecode(self._tiles[i], cv2.IMREAD_COLOR), i) for i in chosen]
        return base64.b64encode(_encode(np.hstack(tiles)).tobytes()).decode()


def _label(tile: np.ndarray, index: int) -> np.ndarray:
    font, yellow = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 0)
    return cv2.putText(
        np.ascontiguousarray(tile[..., ::-1]), str(index), (4, 13), font, 0.4, yellow
    )


def _encode(rgb: np.ndarray) -> np.ndarray:
    return cv2.imencode('.jpg', rgb[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))[1]
