"""Fit the projection in which appearance embeddings are compared, so that it separates objects.

Linear discriminant analysis (Fisher 1936, Rao 1948) of means of `core.reid.appearance.feature_map`
over true masks: the generalized eigenvectors of the scatter between objects and of the scatter
within them, which comes from light, corruptions, deformation and imprecise masks. Discs of the
background count as objects that are seen once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import cv2
import numpy as np
import torch
from scipy.linalg import eigh

from robust_vos_ros.core.confidence.calibration import SavedProjection
from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.reid.appearance import average, feature_map
from robust_vos_ros.core.types import Frame
from robust_vos_ros.core.zoom.window import make_record
from robust_vos_ros.eval.labelled import LabelledFrame

_STEP = 8  # every n-th frame is used
_MIN_PX = 25  # area of a mask, at stride 4
_MAX_JITTER_PX = 2  # by which a mask is dilated or eroded, at stride 4
_RADII = (0.06, 0.15)  # of discs of the background, share of the side
_MIN_FRAMES = 5  # of an object
_MIN_OBJECTS = 8
_DIM = 32
_SHRINKAGE = 0.02  # of the scatter within objects towards the identity
_DIGITS = 6


@dataclasses.dataclass(slots=True)
class EmbeddingSamples:
    """Embeddings of objects, and of discs of the background.

    Attributes:
        objects: (T, D) of each object.
        background: (D,) of each disc.
    """

    objects: list[np.ndarray] = dataclasses.field(default_factory=list)
    background: list[np.ndarray] = dataclasses.field(default_factory=list)

    def collect(self, model: Model, frames: Iterable[LabelledFrame], seed: int) -> None:
        """Add the objects of a clip.

        Args:
            model: The network.
            frames: Of one clip.
            seed: Of the jitter of masks, and of the discs.
        """
        rng = np.random.default_rng(seed)
        found: dict[int, list[np.ndarray]] = {}
        for index, frame in enumerate(frames):
            if index % _STEP or frame.masks is None:
                continue
            size = (model.mask_size, model.mask_size)
            small = {
                key: cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
                for key, mask in frame.masks.items()
            }
            masks = {k: _jitter(rng, mask) for k, mask in small.items() if mask.sum() >= _MIN_PX}
            disc = _draw_disc(rng, small.values(), model.mask_size)
            record = make_record(Frame(frame.image, 0), model.image_size, 0)
            with model.inference():
                inside = torch.from_numpy(np.stack([*masks.values(), disc])).float()
                features = model.encode(record.image[None])
                planes = feature_map(features, record.image)
                values = average(planes, inside.to(model.device).flatten(1))
            values = values.cpu().numpy().astype(float)
            for key, value in zip(masks, values[:-1], strict=True):
                found.setdefault(key, []).append(value)
            if disc.sum() >= _MIN_PX:
                self.background.append(values[-1])
        self.objects += [np.array(v) for v in found.values() if len(v) >= _MIN_FRAMES]


def fit_projection(samples: EmbeddingSamples) -> SavedProjection:
    """Return the projection that separates objects best.

    Raises:
        DatasetError: There are too few objects.
    """
    if len(samples.objects) < _MIN_OBJECTS:
        raise DatasetError(
            f'calibration: expected {_MIN_OBJECTS} objects or more that are seen in {_MIN_FRAMES} '
            f'frames, got {len(samples.objects)}; use more clips'
        )
    means = [rows.mean(axis=0) for rows in samples.objects]
    residuals = np.concatenate(
        [rows - mean for rows, mean in zip(samples.objects, means, strict=True)]
    )
    within = residuals.T @ residuals / len(residuals)
    within += _SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    # About as many discs as objects, so that neither dominates.
    stride = max(1, len(samples.background) // len(means))
    points = np.array(means + samples.background[::stride])
    _, vectors = eigh(np.cov(points.T), within)
    matrix = vectors[:, ::-1][:, :_DIM]
    matrix = matrix * np.sign(matrix[np.abs(matrix).argmax(axis=0), range(matrix.shape[1])])
    return SavedProjection(
        center=np.round(points.mean(axis=0), _DIGITS).tolist(),
        matrix=np.round(matrix, _DIGITS).tolist(),
    )


def _jitter(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Dilate or erode a mask at random, like errors of a network."""
    reach = int(rng.integers(-_MAX_JITTER_PX, _MAX_JITTER_PX + 1))
    kernel = np.ones((2 * abs(reach) + 1,) * 2, np.uint8)
    changed = cv2.dilate(mask, kernel) if reach > 0 else cv2.erode(mask, kernel)
    return changed if changed.sum() >= _MIN_PX else mask


def _draw_disc(rng: np.random.Generator, masks: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Return a random disc of the background as a (size, size) uint8 mask."""
    disc = np.zeros((size, size), np.uint8)
    center = rng.integers(0, size, 2).tolist()
    cv2.circle(disc, center, round(rng.uniform(*_RADII) * size), 1, cv2.FILLED)
    for mask in masks:
        disc[mask > 0] = 0
    return disc
