"""Third part of the training of words: what is said of a motion, compared with how things move.

Two losses: a thing, as the mean of its cells, against all phrases; and each cell likewise. Clips
are also played backwards, mirrored, at other speeds and from their last frames alone.
"""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.words.motion import Motion
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.data.motion_clips import AWAY, CLOSER, DOWN, LEFT, MOTIONS, RIGHT, STILL, UP
from robust_vos_ros.data.motion_expressions import phrases

_MIRRORED = {LEFT: RIGHT, RIGHT: LEFT}
_BACKWARDS = _MIRRORED | {UP: DOWN, DOWN: UP, CLOSER: AWAY, AWAY: CLOSER}
_WHOLE = 0.4  # share of the steps that see all frames
_CELL = 0.6  # share of a cell that a thing covers which it is trained for
_OF_SCENE = 0.15  # share of the cells of the scene that are trained to stand still
_LOST = 0.4  # share of a thing's cells that are left out, at most
_STRANGE = 0.15  # share of strange cells in a thing, at most


@dataclasses.dataclass(frozen=True, slots=True)
class Moves:
    """How the cells of one clip of T frames move, forwards and backwards.

    Attributes:
        shifts: (2, T - 1, c, h, w) float16, of `Motion.shifts`.
        labels: (2, 128, 128) uint8 of the newest frame, 1 + row of the thing, 0 = none.
        motions: Of the things when the clip is played forwards, out of MOTIONS.
    """

    shifts: torch.Tensor
    labels: np.ndarray
    motions: tuple[str, ...]


class MotionPart(nn.Module):
    """Losses of the third part.

    Args:
        motion: The module.
        encoder: Text network.
        clips: To train on.
        seed: Of all randomness.
    """

    def __init__(
        self, motion: Motion, encoder: TextEncoder, clips: list[Moves], seed: int
    ) -> None:
        super().__init__()
        self.motion = motion
        self._clips = clips
        self._random = random.Random(seed)  # noqa: S311
        table = phrases()
        self._said = torch.stack([encoder.encode(text).sentence for text in table])
        self._fits = torch.tensor(
            [[float(kind in kinds) for kinds in table.values()] for kind in MOTIONS]
        )
        # A kind of motion weighs the same, however many phrases say it.
        counts = self._fits.sum(dim=1)
        self._weight = torch.stack([(self._fits[:, k] / counts).max() for k in range(len(table))])
        self._weight = self._weight / self._weight.sum()
        motion.mean.data.copy_(self._said.mean(dim=0))

    def forward(self, batch: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of some clips, and its parts."""
        shifts, labels, kinds = self._draw(batch)
        moving = self.motion(shifts)
        side = moving.shape[-1]
        target = torch.full((batch, side, side), -1)
        things, truth = [], []
        rest = _share(labels == 0, side)
        target[rest > 1.0 - 0.1] = MOTIONS.index(STILL)
        for row in range(max(map(len, kinds))):
            share = _share(labels == row + 1, side)
            for k, known in enumerate(kinds):
                if row < len(known) and share[k].sum() > 1.0:
                    target[k][share[k] > _CELL] = MOTIONS.index(known[row])
                    things.append((self._jitter(share[k]) * moving[k]).sum(dim=(1, 2)))
                    truth.append(MOTIONS.index(known[row]))
        on = (target >= 0) & ((rest < 0.5) | (torch.rand(target.shape) < _OF_SCENE))
        said = self.motion.said(self._said + 0.01 * torch.randn_like(self._said))
        cells = self.motion.compare(moving.permute(0, 2, 3, 1)[on], said)
        whole = self.motion.compare(torch.stack(things), said)
        losses = {
            'motion': self._loss(whole, torch.tensor(truth)),
            'cell': 0.5 * self._loss(cells, target[on]),
        }
        stats = {name: float(value.detach()) for name, value in losses.items()}
        best = self._fits[:, whole.argmax(dim=1)].T[torch.arange(len(truth)), truth]
        return torch.stack(list(losses.values())).sum(), {**stats, 'J': float(best.mean())}

    def _draw(self, batch: int) -> tuple[torch.Tensor, torch.Tensor, list[list[str]]]:
        """Return shifts, labels of the newest frames and the motions of the things."""
        ages = self._clips[0].shifts.shape[1]
        step, count = 1, ages
        if self._random.random() > _WHOLE:
            count = self._random.randint(0, ages)
            step = self._random.randint(1, ages // max(1, count))
        mirror = self._random.random() < 0.5
        shifts, labels, kinds = [], [], []
        for clip in self._random.sample(self._clips, batch):
            way = self._random.randrange(len(clip.shifts))
            shifts.append(clip.shifts[way, step - 1 :: step][:count].float())
            labels.append(torch.from_numpy(clip.labels[way]))
            known = [_BACKWARDS.get(k, k) if way else k for k in clip.motions]
            kinds.append([_MIRRORED.get(k, k) if mirror else k for k in known])
        seen, shown = torch.stack(shifts), torch.stack(labels)
        if mirror:
            seen, shown = seen.flip(4), shown.flip(2)
            sign = torch.tensor([-1.0, 1.0, 1.0] * (seen.shape[2] // 3))
            seen = seen * sign[:, None, None]
        return seen, shown, kinds

    def _jitter(self, share: torch.Tensor) -> torch.Tensor:
        """Return the share of the cells of a thing, as an imperfect mask has it."""
        kept = torch.rand(share.shape) > self._random.uniform(0.0, _LOST)
        some = (share * kept) if (share * kept).sum() > 0.5 else share
        strange = torch.rand(share.shape) < self._random.uniform(0.0, _STRANGE) * share.mean()
        return some + strange

    def _loss(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        target = self._fits[truth]
        cross = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
        positive = (self._weight * target * cross).sum() / (self._weight * target).sum()
        negative = 1.0 - target
        return (
            positive
            + 3.0 * (self._weight * negative * cross).sum() / (self._weight * negative).sum()
        )


def _share(on: torch.Tensor, side: int) -> torch.Tensor:
    """Return (B, side, side) float32, the share of each cell where (B, H, W) is True."""
    return F.adaptive_avg_pool2d(on.float()[:, None], side)[:, 0]
