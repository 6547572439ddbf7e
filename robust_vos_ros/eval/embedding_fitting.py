"""Fit where looks are compared: what tells objects apart, against what changes on each of them.

Linear discriminant analysis (Fisher 1936, Rao 1948) of means of `core.reid.appearance.feature_map`
over true masks: the generalized eigenvectors of the scatter between objects and the scatter within
them, which light, weather, deformation and imprecise masks make. Places in the background are
objects seen once.
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

_STEP = 8  # frames from one to the next that is used
_MIN_PX = 25  # of a mask at stride 4
_MOST_JITTER_PX = 2  # by which a mask is grown or shrunk, at stride 4
_RADII = (0.06, 0.15)  # of places in the background, share of the side
_MIN_FRAMES = 5  # of an object
_MIN_OBJECTS = 8
_DIM = 32
_SHRINK = 0.02  # of the scatter within objects towards a ball
_DIGITS = 6


@dataclasses.dataclass(slots=True)
class EmbeddingSamples:
    """Measures of objects, and of places in the background.

    Attributes:
        objects: (T, D) of each object.
        places: (D,) of each place.
    """

    objects: list[np.ndarray] = dataclasses.field(default_factory=list)
    places: list[np.ndarray] = dataclasses.field(default_factory=list)

    def collect(self, model: Model, frames: Iterable[LabelledFrame], seed: int) -> None:
        """Add the objects of a clip.

        Args:
            model: The network.
            frames: Of one clip.
            seed: Of what is done to the masks, and of places.
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
            place = _place(rng, small.values(), model.mask_size)
            record = make_record(Frame(frame.image, 0), model.image_size, 0)
            with model.inference():
                inside = torch.from_numpy(np.stack([*masks.values(), place])).float()
                features = model.encode(record.image[None])
                planes = feature_map(features, record.image)
                values = average(planes, inside.to(model.device).flatten(1))
            values = values.cpu().numpy().astype(float)
            for key, value in zip(masks, values[:-1], strict=True):
                found.setdefault(key, []).append(value)
            if place.sum() >= _MIN_PX:
                self.places.append(values[-1])
        self.objects += [np.array(v) for v in found.values() if len(v) >= _MIN_FRAMES]


def fit_projection(samples: EmbeddingSamples) -> SavedProjection:
    """Return the map in which objects are best told apart.

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
    within += _SHRINK * np.trace(within) / len(within) * np.eye(len(within))
    # As many places as objects, so that neither decides alone.
    stride = max(1, len(samples.places) // len(means))
    things = np.array(means + samples.places[::stride])
    _, vectors = eigh(np.cov(things.T), within)
    matrix = vectors[:, ::-1][:, :_DIM]
    matrix = matrix * np.sign(matrix[np.abs(matrix).argmax(axis=0), range(matrix.shape[1])])
    return SavedProjection(
        center=np.round(things.mean(axis=0), _DIGITS).tolist(),
        matrix=np.round(matrix, _DIGITS).tolist(),
    )


def _jitter(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Grow or shrink a mask as a network might."""
    reach = int(rng.integers(-_MOST_JITTER_PX, _MOST_JITTER_PX + 1))
    kernel = np.ones((2 * abs(reach) + 1,) * 2, np.uint8)
    changed = cv2.dilate(mask, kernel) if reach > 0 else cv2.erode(mask, kernel)
    return changed if changed.sum() >= _MIN_PX else mask


def _place(rng: np.random.Generator, masks: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Return a disc somewhere, without the objects in it."""
    disc = np.zeros((size, size), np.uint8)
    center = rng.integers(0, size, 2).tolist()
    cv2.circle(disc, center, round(rng.uniform(*_RADII) * size), 1, cv2.FILLED)
    for mask in masks:
        disc[mask > 0] = 0
    return disc
