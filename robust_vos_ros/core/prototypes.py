"""How each object looks, in a few prototypes, so that a lost one is not mixed up when it returns.

After the adaptive object proxy of "Towards Robust Video Object Segmentation with Adaptive Object
Calibration" (arXiv 2207.00887, section 3.2): K-means over the features of the object's cells, in
16 clusters and in 1. There proxies feed a trained network; here they verify a candidate, without
training. What is alike depends on the scene, so likeness is measured between two known values: how
alike the object has been to its own prototypes, and how alike the rest of the image is to them.
"""

from __future__ import annotations

import torch

_NUM_CLUSTERS = 16
_NUM_SAMPLES = 256  # cells remembered per object
_NEW_SAMPLES = 32  # cells learned from one frame
_NUM_COLORS = 3
_COLOR_WEIGHTS = (3.0, 3.0, 1.0)  # light changes with the weather, hue less
_NUM_ROUNDS = 4  # of Lloyd's algorithm, from the prototypes there are
_RATE = 0.2
_EPS = 1e-6
_STATE = ('centers', 'samples', 'counts', 'own', 'other')


class Prototypes:
    """Prototypes of all objects, one preallocated row per slot.

    Args:
        capacity: Number of slots.
        dim: C, width of a feature of the image.
        device: Where features live.
    """

    def __init__(self, capacity: int, dim: int, device: torch.device) -> None:
        dim += _NUM_COLORS
        self.centers = torch.zeros(capacity, _NUM_CLUSTERS + 1, dim, device=device)
        self.samples = torch.zeros(capacity, _NUM_SAMPLES, dim, device=device)
        self.counts = torch.zeros(capacity, dtype=torch.int64)
        # Likeness of the object itself and of the rest of the image, moving averages.
        self.own = torch.zeros(capacity, device=device)
        self.other = torch.zeros(capacity, device=device)

    def clear(self, slot: int) -> None:
        """Forget how an object looks."""
        self.counts[slot] = 0

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of everything, which `resume` takes."""
        return {name: getattr(self, name).cpu().clone() for name in _STATE}

    def resume(self, state: dict[str, torch.Tensor]) -> None:
        """Become the prototypes whose `state` this was."""
        for name in _STATE:
            getattr(self, name).copy_(state[name])

    def learn(self, slot: int, looks: torch.Tensor, mask_logits: torch.Tensor) -> None:
        """Learn from a frame that surely shows the object.

        Args:
            slot: Row of the object.
            looks: (h, w, C + 3) from `appearance`.
            mask_logits: (H, W) float32, above 0 is object.
        """
        cells, share = looks.flatten(0, 1), _shares(mask_logits[None], looks)[0]
        order = share.argsort(descending=True, stable=True)
        order = order[: int((share > 0.5).sum().clamp(min=1))]
        stride = max(1, len(order) // _NEW_SAMPLES)
        mine = cells[order[::stride][:_NEW_SAMPLES]]
        count = int(self.counts[slot])
        at = torch.tensor([slot], device=cells.device)
        if count:
            own, other = self._likeness(at, cells, share[None])
            rate = _RATE if count > _NEW_SAMPLES else 1.0
            self.own[slot] += rate * (own[0] - self.own[slot])
            self.other[slot] += rate * (other[0] - self.other[slot])
        place = torch.arange(count, count + len(mine)) % _NUM_SAMPLES
        self.samples[slot, place] = mine
        self.counts[slot] = count + len(mine)
        self._cluster(slot, first=not count)
        if not count:
            self.own[at], self.other[at] = self._likeness(at, cells, share[None])

    def similarity(
        self, slots: torch.Tensor, looks: torch.Tensor, mask_logits: torch.Tensor
    ) -> torch.Tensor:
        """Return how much masks look like their objects.

        Args:
            slots: (N,) int64 rows of the objects.
            looks: (h, w, C + 3) from `appearance`.
            mask_logits: (N, H, W) float32, above 0 is object.

        Returns:
            (N,) float32: about 1 as the object has looked, about 0 as the rest of the image; NaN
            where nothing is known or the mask is empty.
        """
        share = _shares(mask_logits, looks)
        own, _ = self._likeness(slots, looks.flatten(0, 1), share)
        span = (self.own[slots] - self.other[slots]).clamp(min=_EPS)
        known = (self.counts[slots.cpu()] > 0).to(share.device) & share.any(dim=1)
        return torch.where(known, (own - self.other[slots]) / span, float('nan'))

    def _likeness(
        self, slots: torch.Tensor, cells: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N,) mean cosines to the nearest prototypes: inside of masks, and outside."""
        with torch.autocast(cells.device.type, enabled=False):
            cosine = (cells @ self.centers[slots].transpose(1, 2)).amax(dim=2)
        rest = 1.0 - share
        inside = (cosine * share).sum(1) / share.sum(1).clamp(min=_EPS)
        return inside, (cosine * rest).sum(1) / rest.sum(1).clamp(min=_EPS)

    def _cluster(self, slot: int, *, first: bool) -> None:
        """Move the prototypes to the cells remembered: 16 means and the mean of all."""
        samples = self.samples[slot, : min(_NUM_SAMPLES, int(self.counts[slot]))]
        if first:
            spread = torch.linspace(0, len(samples) - 1, _NUM_CLUSTERS).long()
            self.centers[slot, :-1] = samples[spread]
        centers = self.centers[slot, :-1]
        for _ in range(_NUM_ROUNDS):
            with torch.autocast(samples.device.type, enabled=False):
                nearest = (samples @ centers.T).argmax(dim=1)
                member = torch.nn.functional.one_hot(nearest, _NUM_CLUSTERS).to(samples.dtype)
                sums = member.T @ samples
            filled = (member.sum(dim=0) > 0)[:, None]
            centers = torch.where(filled, _unit(sums), centers)
        self.centers[slot, :-1] = centers
        self.centers[slot, -1] = _unit(samples.mean(dim=0))


def appearance(pix: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return what each cell of an image looks like, without what all cells have in common.

    Features of a small network say little of colour; so its mean is added, in opponent form.

    Args:
        pix: (1, C, h, w) features of the image.
        image: (S, S, 3) uint8, RGB.

    Returns:
        (h, w, C + 3) float32 of length 1.
    """
    features = pix[0].float().permute(1, 2, 0)
    size = (pix.shape[-2], pix.shape[-1])
    planes = image.to(pix.device).permute(2, 0, 1).float()[None] / 255.0
    red, green, blue = torch.nn.functional.adaptive_avg_pool2d(planes, size)[0]
    opponent = (red - green, 0.5 * (red + green) - blue, (red + green + blue) / 3.0)
    colors = torch.stack(
        [weight * plane for weight, plane in zip(_COLOR_WEIGHTS, opponent, strict=True)], dim=-1
    )
    parts = [_unit(features - features.mean(dim=(0, 1))), colors - colors.mean(dim=(0, 1))]
    return _unit(torch.cat(parts, dim=-1))


def _shares(mask_logits: torch.Tensor, looks: torch.Tensor) -> torch.Tensor:
    """Return (N, h * w) how much of each cell each mask covers, 0 to 1."""
    inside = (mask_logits > 0).float()[:, None]
    size = (looks.shape[0], looks.shape[1])
    return torch.nn.functional.adaptive_avg_pool2d(inside, size).flatten(1)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=_EPS)
