"""Draw frames of long clips for docs/long_tracking.md.

usage: draw_long_clips.py OUT
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.eval.rendered import RenderedSet

DATASET = RenderedSet(num_clips=20, num_frames=600, size=384, seed=0)
CLIPS, FRAMES, WIDTH, QUALITY = (0, 1, 4, 6), range(45, 600, 75), 192, 82
PROMPTED, DISTRACTOR = (255, 255, 255), (255, 60, 60)


def draw(number: int) -> np.ndarray:
    """Return a row of frames, with the outlines of the visible parts of objects."""
    sequence = DATASET.open(DATASET.name_of(number))
    clip, corruptions = sequence.clip, sequence.segments
    tiles = []
    for t in FRAMES:
        frame = clip.frame(t)
        size = (WIDTH, WIDTH)
        tile = cv2.resize(corruptions.apply(frame.image, t), size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(frame.labels, size, interpolation=cv2.INTER_NEAREST)
        for label in range(1, int(labels.max()) + 1):
            inside = (labels == label).view(np.uint8)
            lines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            color = PROMPTED if label <= clip.num_objects else DISTRACTOR
            cv2.drawContours(tile, lines, -1, color, 1)
        text = f'{t / 30:.1f} s {corruptions.at(t)[0]}'
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 0), 1)):
            place, font = (5, 14), cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(tile, text, place, font, 0.4, color, thickness, cv2.LINE_AA)
        tiles.append(tile)
    return np.hstack(tiles)


def main() -> None:
    """Write one image with a row per clip."""
    target = Path(sys.argv[1])
    picture = np.vstack([draw(number) for number in CLIPS])
    cv2.imwrite(str(target), picture[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, QUALITY))


if __name__ == '__main__':
    main()
