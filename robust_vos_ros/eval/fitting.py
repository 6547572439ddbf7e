"""Fit a calibration: what the network said of masks, and whether they were right.

A logistic model of the evidence (Platt 1999), then a rising curve (isotonic regression, Zadrozny
and Elkan 2002), both by scipy.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from scipy.optimize import isotonic_regression, minimize

from robust_vos_ros.core.confidence.calibration import (
    FEATURES,
    CalibrationFile,
    Evidence,
    Fit,
    Fits,
    SavedProjection,
    to_features,
)
from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.masks import mask_iou_numpy
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.eval.labelled import LabelledFrame
from robust_vos_ros.eval.prompting import make_prompt

RIGHT_IOU, THERE_IOU = 0.5, 0.1
_RIDGE = 1e-3  # keeps weights small where a feature tells nothing
_CONSTANT = 1e-6
_GROUPS = 60  # of masks of about equal probability
_MIN_SAMPLES = 200
# Inputs are of order 1: a larger weight was learned from a few cases and would decide alone.
_MAX_WEIGHT = 10.0
_RISES, _FALLS = (0.0, _MAX_WEIGHT), (-_MAX_WEIGHT, 0.0)
# What a feature may mean, whatever the clips at hand say: other clips are to come.
_SIGNS = {
    'iou_logit': _RISES,
    'object_score': _RISES,
    'margin': _RISES,
    'similarity': _RISES,
    'lead': _RISES,
    'area_change': _FALLS,
    'memory_age': _FALLS,
    'usual': _FALLS,
    'drop': _FALLS,
    'verified': _RISES,
    'growth': _FALLS,
    'shrinkage': _FALLS,
    'extent': _FALLS,
    'misfit': _FALLS,
}
_RATE_HZ = 30.0
# At first nobody knows which masks to believe.
_OPEN = TrackerSettings(
    visible_on=0.0, visible_off=0.0, reacquire={'verify': False}, guard={'enabled': False}
)


@dataclasses.dataclass(slots=True)
class Samples:
    """N masks: what the network said, and how right they were.

    Attributes:
        evidence: Of each mask.
        iou: With the true mask, in [0, 1].
    """

    evidence: list[Evidence] = dataclasses.field(default_factory=list)
    iou: list[float] = dataclasses.field(default_factory=list)

    def collect(self, model: Model, frames: Iterable[LabelledFrame], prompt: str = 'mask') -> None:
        """Track the objects of the first frame and add every mask there is, believed or not.

        Args:
            model: The network; without a calibration every mask is believed.
            frames: Of one clip; the first one has masks.
            prompt: How objects are pointed at, a form of `prompting.PROMPT_FORMS`.
        """
        settings = TrackerSettings() if model.calibration else _OPEN
        tracker = VideoTracker(model, settings)
        for index, frame in enumerate(frames):
            tracker.step(Frame(frame.image, round(index * 1e9 / _RATE_HZ)))
            if index == 0:
                shown = (frame.masks or {}).items()
                tracker.add([make_prompt(prompt, mask, str(key)) for key, mask in shown])
                continue
            if frame.masks is None:
                continue
            for name, (evidence, logits) in tracker.evidence().items():
                small = (logits > 0).cpu().numpy().astype(np.uint8)
                size = (frame.image.shape[1], frame.image.shape[0])
                mask = cv2.resize(small, size, interpolation=cv2.INTER_NEAREST) > 0
                if not mask.any():
                    continue
                true = frame.masks.get(int(name), np.zeros_like(mask))
                self.evidence.append(evidence)
                self.iou.append(mask_iou_numpy(mask, true))


def fit(
    samples: Samples, projection: SavedProjection, model: Model, data: str, *, first: bool = False
) -> CalibrationFile:
    """Fit a calibration to samples.

    Args:
        samples: Right and wrong masks of objects in sight and out of sight, at least 200 of each.
        looks: Where looks were compared.
        model: They were made by.
        data: What they are, for people.
        first: Whether every mask was believed, so that hardly an object was ever out of sight;
            where there are too few such masks all are taken.

    Raises:
        DatasetError: There are too few masks, or all of them are right, or wrong.
    """
    x = np.stack([to_features(evidence) for evidence in samples.evidence])
    iou = np.array(samples.iou)
    searching = np.array([evidence.searching for evidence in samples.evidence])
    fits = {}
    for name, those in (('following', ~searching), ('searching', searching)):
        chosen = np.ones_like(those) if first and those.sum() < _MIN_SAMPLES else those
        curves = {
            what: _fit(x[chosen], iou[chosen] > least, f'{name}, {what}')
            for what, least in (('right', RIGHT_IOU), ('there', THERE_IOU))
        }
        fits[name] = Fits(**curves)
    return CalibrationFile(
        model=model.name,
        weights_sha256=model.weights_hash,
        data=data,
        date=dt.datetime.now(dt.timezone.utc).date().isoformat(),
        samples=len(iou),
        projection=projection,
        **fits,
    )


def _fit(x: np.ndarray, right: np.ndarray, what: str) -> Fit:
    share = float(right.mean()) if len(right) else 0.0
    if len(right) < _MIN_SAMPLES or share in {0.0, 1.0}:
        raise DatasetError(
            f'calibration ({what}): expected {_MIN_SAMPLES} masks, some right and some wrong, got '
            f'{len(right)} of which {int(right.sum())} are right; use more or harder clips'
        )
    weights = _fit_logistic(x, right.astype(float))
    chance = 1.0 / (1.0 + np.exp(-x @ weights))
    return Fit(
        weights={name: round(float(w), 6) for name, w in zip(FEATURES, weights, strict=True)},
        curve=list(_fit_curve(chance, right.astype(float))),
    )


def _fit_logistic(x: np.ndarray, right: np.ndarray) -> np.ndarray:
    center, scale = x.mean(axis=0), x.std(axis=0)
    center[0] = 0.0
    scale[scale < _CONSTANT] = 1.0
    scaled = (x - center) / scale

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = scaled @ weights
        value = np.logaddexp(0.0, logits) - right * logits
        slope = scaled.T @ (1.0 / (1.0 + np.exp(-logits)) - right) / len(right)
        ridge = _RIDGE * weights * (np.arange(len(weights)) > 0)
        return float(value.mean() + 0.5 * ridge @ weights), slope + ridge

    bounds = [
        (None if low is None else low * size, None if high is None else high * size)
        for (low, high), size in zip(map(_bounds_of, FEATURES), scale.tolist(), strict=True)
    ]
    found = minimize(
        loss, np.zeros(x.shape[1]), jac=True, method='L-BFGS-B', bounds=bounds,
        options={'ftol': 1e-12, 'gtol': 1e-8},
    )  # fmt: skip
    weights = np.asarray(found.x) / scale
    weights[0] -= float(weights[1:] @ center[1:])
    return weights


def _bounds_of(feature: str) -> tuple[float | None, float | None]:
    return (None, None) if feature == 'one' else _SIGNS.get(feature, (-_MAX_WEIGHT, _MAX_WEIGHT))


def _fit_curve(chance: np.ndarray, right: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield points of a rising curve through the means of groups of equal size."""
    order = np.argsort(chance, kind='stable')
    groups = np.array_split(order, _GROUPS)
    x = np.array([chance[group].mean() for group in groups])
    y = isotonic_regression(np.array([right[group].mean() for group in groups])).x
    # Of groups at one height only the ends are needed.
    inner = (np.diff(y, prepend=np.nan) == 0.0) & (np.diff(y, append=np.nan) == 0.0)
    for at, value in zip(x[~inner], y[~inner], strict=True):
        yield round(float(at), 6), round(float(value), 6)
