"""Draw every corruption at severities 1, 3 and 5 over five frames, for docs/benchmark.md.

usage: draw_corruptions.py VIDEO FIRST_FRAME OUT
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.data.corruption import PRESETS, Corruption
from robust_vos_ros.data.severity import Profile

SEVERITIES, NUM_FRAMES, WIDTH, QUALITY = (1.0, 3.0, 5.0), 5, 256, 82


def read_frames(video: str, first: int) -> list[np.ndarray]:
    """Return consecutive frames, (H, W, 3) uint8 RGB, at most 480 px high."""
    capture = cv2.VideoCapture(video)
    capture.set(cv2.CAP_PROP_POS_FRAMES, first)
    frames = [capture.read()[1] for _ in range(NUM_FRAMES)]
    scale = min(1.0, 480 / frames[0].shape[0])
    small = [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for f in frames]
    return [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in small]


def draw(name: str, frames: list[np.ndarray], severities: tuple[float, ...]) -> np.ndarray:
    """Return one row per severity."""
    rows = []
    for severity in severities:
        corruption = Corruption(name, Profile('constant', severity, NUM_FRAMES), 7)
        tiles = [corruption.apply(frame, index) for index, frame in enumerate(frames)]
        height = round(WIDTH * frames[0].shape[0] / frames[0].shape[1])
        row = np.hstack(
            [cv2.resize(t, (WIDTH, height), interpolation=cv2.INTER_AREA) for t in tiles]
        )
        text = name if len(severities) == 1 else f'{name} {severity:g}'
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 0), 1)):
            cv2.putText(row, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness)
        rows.append(row)
    return np.vstack(rows)


def main() -> None:
    """Write one image per preset."""
    video, first, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    frames = read_frames(video, first)
    out.mkdir(parents=True, exist_ok=True)
    for preset in ('robustpvos-c', 'further', 'compound', 'ytvos-p'):
        severities = SEVERITIES[1:2] if preset == 'ytvos-p' else SEVERITIES
        sheet = np.vstack([draw(name, frames, severities) for name in PRESETS[preset]])
        path = out / f'corruptions_{preset}.jpg'
        cv2.imwrite(str(path), sheet[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        print(path)


if __name__ == '__main__':
    main()
