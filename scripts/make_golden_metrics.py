"""Write test/eval/golden_metrics.json: J and F of random masks, as vos-benchmark computes them.

Needs vos-benchmark, which the tests of this package do not need:

    pip install vos-benchmark==0.1.0
    python scripts/make_golden_metrics.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parents[1] / 'test' / 'eval' / 'golden_metrics.json'
SIZES_HW = ((480, 854), (37, 53), (120, 160), (1, 9), (300, 400), (2, 2), (64, 48))
NUM_SEEDS = 60


def make_masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two similar (H, W) bool masks; for every tenth seed one is empty."""
    rng = np.random.default_rng(seed)
    size_hw = SIZES_HW[seed % len(SIZES_HW)]
    shift = rng.integers(-3, 4, 2)
    discs = np.stack(
        [rng.integers(-4, size + 5, 6) for size in size_hw]
        + [rng.integers(0, 2 + min(size_hw) // 3, 6)],
        axis=1,
    )
    first = _draw(size_hw, discs[:4])
    second = _draw(size_hw, discs[1 : 5 + seed % 2] + np.array([*shift, 0]))
    if seed % 3 == 0:  # isolated pixels and holes
        second = second ^ (rng.random(size_hw) < 0.01)
    if seed % 10 == 5:
        first = np.zeros_like(first)
    if seed % 20 == 5:
        second = np.zeros_like(second)
    return (second, first) if seed % 4 == 1 else (first, second)


def _draw(size_hw: tuple[int, int], discs: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    mask = np.zeros(size_hw, bool)
    for center_y, center_x, radius in discs:
        mask |= (y - center_y) ** 2 + (x - center_x) ** 2 <= radius**2
    return mask


def reference(pred: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Return J and F in [0, 1] as vos-benchmark computes them.

    It scores only known objects, so the first frame is a full mask, and the masks are the second.
    """
    from vos_benchmark.evaluator import Evaluator

    evaluator = Evaluator()
    evaluator.feed_frame(np.ones(true.shape, np.uint8), np.ones(true.shape, np.uint8))
    evaluator.feed_frame(pred.astype(np.uint8), true.astype(np.uint8))
    return evaluator.object_iou[1][1], evaluator.boundary_f[1][1]


def main() -> None:
    """Write the table."""
    golden = {seed: reference(*make_masks(seed)) for seed in range(NUM_SEEDS)}
    rows = [f'  "{seed}": {json.dumps([float(v) for v in row])}' for seed, row in golden.items()]
    TARGET.write_text('{\n' + ',\n'.join(rows) + '\n}\n', encoding='utf-8')
    print(f'{TARGET}: {len(golden)} pairs of masks')


if __name__ == '__main__':
    main()
