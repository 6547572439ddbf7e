"""What the camera of a soak sees: objects that come and go, at known places."""

from __future__ import annotations

import math

import numpy as np

SIZE_HW, NUM_OBJECTS, RADIUS = (120, 160), 8, 9


class Scene:
    """Discs of eight colours on a textured background; each is hidden a third of the time."""

    def __init__(self) -> None:
        y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
        self._grid = y, x
        self._background = np.stack(
            [60 + (x * 7 + y * 3) % 40, 80 + (x * 5) % 30, 70 + (y * 9) % 30], axis=-1
        ).astype(np.uint8)
        rng = np.random.default_rng(1)
        self._colours = rng.integers(120, 256, (NUM_OBJECTS, 3), dtype=np.uint8)

    def center(self, number: int, t_s: float) -> tuple[int, int] | None:
        """Return where a disc is, (x, y) in pixels; None while it is hidden."""
        if (t_s + 4.0 * number) % 30.0 > 20.0:
            return None
        column, row = number % 4, number // 4
        swing = 8.0 * math.sin(t_s / 3.0 + number)
        return int(24 + 38 * column + swing), int(34 + 52 * row + 5 * math.cos(t_s / 2.0))

    def draw(self, t_s: float) -> np.ndarray:
        """Return the image of a time, (H, W, 3) uint8."""
        rgb, (y, x) = self._background.copy(), self._grid
        for number in range(NUM_OBJECTS):
            if (center := self.center(number, t_s)) is not None:
                disc = (x - center[0]) ** 2 + (y - center[1]) ** 2 < RADIUS**2
                rgb[disc] = self._colours[number]
        return rgb
