"""How each object looks, in a few prototypes, so that a lost one is not mixed up when it returns.

After the adaptive object proxy of "Towards Robust Video Object Segmentation with Adaptive Object
Calibration" (arXiv 2207.00887, section 3.2): K-means in 16 clusters and in 1. There the clusters
are of cells of one frame and feed a trained network; here they are of the looks of the object in
all frames that surely showed it, and verify a candidate. What a user pointed at, and what was seen
just after, is kept apart: it alone is known to be the object, and tells whether a look may be
learned.
"""

from __future__ import annotations

import dataclasses

import torch

_NUM_CLUSTERS = 16
_NUM_SAMPLES = 256  # frames remembered per object
_NUM_TRUSTED = 8  # looks that were pointed at, or seen just after: the first one, the newest ones
_NUM_ROUNDS = 4  # of Lloyd's algorithm, from the prototypes there are
_EPS = 1e-6
_STATE = ('centers', 'samples', 'counts', 'trusted', 'trusted_counts')


@dataclasses.dataclass(frozen=True, slots=True)
class Likenesses:
    """How much N masks look like their objects; NaN = nothing is known, or the mask is empty.

    Attributes:
        similarity: (N,) float32 cosine to the nearest prototype.
        lead: (N,) by how much that is more than to any other object it could be, or than 0.
        verified: (N,) cosine to the nearest look that was pointed at, or seen just after.
    """

    similarity: torch.Tensor
    lead: torch.Tensor
    verified: torch.Tensor


class Prototypes:
    """Prototypes of all objects, one preallocated row per slot.

    Args:
        capacity: Number of slots.
        dim: E, length of a description.
        device: Where descriptions live.
    """

    def __init__(self, capacity: int, dim: int, device: torch.device) -> None:
        self.centers = torch.zeros(capacity, _NUM_CLUSTERS + 1, dim, device=device)
        self.samples = torch.zeros(capacity, _NUM_SAMPLES, dim, device=device)
        self.counts = torch.zeros(capacity, dtype=torch.int64)
        self.trusted = torch.zeros(capacity, _NUM_TRUSTED, dim, device=device)
        self.trusted_counts = torch.zeros(capacity, dtype=torch.int64)

    def clear(self, slot: int) -> None:
        """Forget how an object looks."""
        self.counts[slot] = self.trusted_counts[slot] = 0
        self.trusted[slot] = 0.0

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of everything, which `resume` takes."""
        return {name: getattr(self, name).cpu().clone() for name in _STATE}

    def resume(self, state: dict[str, torch.Tensor]) -> None:
        """Become the prototypes whose `state` this was."""
        for name in _STATE:
            getattr(self, name).copy_(state[name])

    def trust(self, slot: int, look: torch.Tensor) -> float:
        """Return the cosine of a look to the nearest trusted one; 0 = there is none."""
        return float((self.trusted[slot] @ look).max())

    def learn(self, slot: int, look: torch.Tensor, *, trusted: bool = False) -> None:
        """Learn from a frame that surely shows the object.

        Args:
            slot: Row of the object.
            look: (E,) from `Looks.describe`, of a mask that is not empty.
            trusted: Whether a user pointed at it in this frame, or just before.
        """
        if trusted:
            self._trust(slot, look)
        count = int(self.counts[slot])
        self.samples[slot, count % _NUM_SAMPLES] = look
        self.counts[slot] = count + 1
        samples = self.samples[slot, : min(_NUM_SAMPLES, count + 1)]
        if count < _NUM_CLUSTERS:  # each frame is a prototype of its own
            self.centers[slot, count:-1] = look
        else:
            self._cluster(slot, samples)
        self.centers[slot, -1] = _unit(samples.mean(dim=0))

    def compare(
        self,
        slots: torch.Tensor,
        looks: torch.Tensor,
        rivals: torch.Tensor,
        could_be: torch.Tensor,
    ) -> Likenesses:
        """Return how much masks look like their objects.

        Args:
            slots: (N,) int64 rows of the objects.
            looks: (N, E) from `Looks.describe`.
            rivals: (M,) int64 rows of all objects there are.
            could_be: (N, M) bool, whether a mask can be that object by its size.
        """
        with torch.autocast(looks.device.type, enabled=False):
            cosine = (self.centers[rivals] @ looks.T).amax(dim=1).T
            own = (self.centers[slots] @ looks[:, :, None])[..., 0].amax(dim=1)
            verified = (self.trusted[slots] @ looks[:, :, None])[..., 0].amax(dim=1)
        others = (rivals[None] != slots[:, None]) & (self.counts[rivals.cpu()] > 0)[None]
        others = others.to(looks.device) & could_be
        rival = torch.where(others, cosine, 0.0).amax(dim=1).clamp(min=0.0)
        shown = (looks != 0).any(dim=1)
        known = (self.counts[slots.cpu()] > 0).to(looks.device) & shown
        shown &= (self.trusted_counts[slots.cpu()] > 0).to(looks.device)
        nan = torch.full_like(own, float('nan'))
        return Likenesses(
            torch.where(known, own, nan),
            torch.where(known, own - rival, nan),
            torch.where(shown, verified, nan),
        )

    def _trust(self, slot: int, look: torch.Tensor) -> None:
        count = int(self.trusted_counts[slot])
        place = count if count < _NUM_TRUSTED else 1 + (count - 1) % (_NUM_TRUSTED - 1)
        self.trusted[slot, place] = look
        self.trusted_counts[slot] = count + 1

    def _cluster(self, slot: int, samples: torch.Tensor) -> None:
        """Move the prototypes to the frames remembered."""
        centers = self.centers[slot, :-1]
        for _ in range(_NUM_ROUNDS):
            with torch.autocast(samples.device.type, enabled=False):
                nearest = (samples @ centers.T).argmax(dim=1)
                member = torch.nn.functional.one_hot(nearest, _NUM_CLUSTERS).to(samples.dtype)
                sums = member.T @ samples
            filled = (member.sum(dim=0) > 0)[:, None]
            centers = torch.where(filled, _unit(sums), centers)
        self.centers[slot, :-1] = centers


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=_EPS)
