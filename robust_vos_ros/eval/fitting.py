"""Fit a calibration: from the evidence of masks to the probability that they are correct.

A logistic model of the evidence (Platt 1999), then isotonic regression (Zadrozny and Elkan 2002),
both by scipy.
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

# IoU above which a mask is correct (`Fits.right`), or on its object at all (`Fits.there`).
_RIGHT_IOU, _THERE_IOU = 0.5, 0.1
_RIDGE = 1e-3  # of the ridge penalty on the weights
_CONSTANT = 1e-6  # a feature with a smaller standard deviation counts as constant
_GROUPS = 60  # of masks of similar probability
_MIN_SAMPLES = 200
# Features are of order 1; a larger weight would come from a few samples and dominate all others.
_MAX_WEIGHT = 10.0
_RISES, _FALLS = (0.0, _MAX_WEIGHT), (-_MAX_WEIGHT, 0.0)
# Whether a feature may raise or lower the probability: prior knowledge against overfitting.
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
    'classifier_fit': _RISES,
}
_RATE_HZ = 30.0
# Without a calibration every mask is shown.
_SHOW_ALL = TrackerSettings(
    visible_on=0.0, visible_off=0.0, reacquire={'verify': False}, guard={'enabled': False}
)


@dataclasses.dataclass(slots=True)
class Samples:
    """Evidence and IoU of N masks.

    Attributes:
        evidence: Of each mask.
        iou: With the true mask, in [0, 1].
    """

    evidence: list[Evidence] = dataclasses.field(default_factory=list)
    iou: list[float] = dataclasses.field(default_factory=list)

    def collect(self, model: Model, frames: Iterable[LabelledFrame], prompt: str = 'mask') -> None:
        """Track the objects of the first frame and add every mask, shown or not.

        Args:
            model: The network; without a calibration every mask is shown.
            frames: Of one clip; the first one has masks.
            prompt: Form of the prompts, one of `prompting.PROMPT_FORMS`.
        """
        settings = TrackerSettings() if model.calibration else _SHOW_ALL
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
        samples: Masks of objects in sight and out of sight, at least 200 of each.
        projection: Of the embeddings.
        model: The network that made the masks.
        data: Description of the clips, for the file.
        first: Whether every mask was shown, so that objects were rarely out of sight: with too few
            masks of one kind, its fit uses all masks.

    Raises:
        DatasetError: There are too few masks, or all are correct, or all are wrong.
    """
    x = np.stack([to_features(evidence) for evidence in samples.evidence])
    iou = np.array(samples.iou)
    searching = np.array([evidence.searching for evidence in samples.evidence])
    fits = {}
    for name, those in (('following', ~searching), ('searching', searching)):
        chosen = np.ones_like(those) if first and those.sum() < _MIN_SAMPLES else those
        curves = {
            what: _fit(x[chosen], iou[chosen] > least, f'{name}, {what}')
            for what, least in (('right', _RIGHT_IOU), ('there', _THERE_IOU))
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


def keep_visibility(file: CalibrationFile, start: CalibrationFile) -> CalibrationFile:
    """Return a calibration with P(IoU > 0.1) of another one, which decides what is shown.

    Args:
        file: Fitted with the projection of `start`.
        start: The other one.
    """
    kept = {
        group: Fits(
            p_correct=getattr(file, group).p_correct,
            p_on_object=getattr(start, group).p_on_object,
        )
        for group in ('following', 'searching')
    }
    return file.model_copy(update=kept)


def _fit(x: np.ndarray, correct: np.ndarray, what: str) -> Fit:
    share = float(correct.mean()) if len(correct) else 0.0
    if len(correct) < _MIN_SAMPLES or share in {0.0, 1.0}:
        raise DatasetError(
            f'calibration ({what}): expected {_MIN_SAMPLES} masks, some right and some wrong, got '
            f'{len(correct)} of which {int(correct.sum())} are right; use more or harder clips'
        )
    weights = _fit_logistic(x, correct.astype(float))
    probability = 1.0 / (1.0 + np.exp(-x @ weights))
    return Fit(
        weights={name: round(float(w), 6) for name, w in zip(FEATURES, weights, strict=True)},
        curve=list(_fit_curve(probability, correct.astype(float))),
    )


def _fit_logistic(x: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Return the (D,) weights of a logistic model of (N, D) features, within their bounds."""
    center, scale = x.mean(axis=0), x.std(axis=0)
    center[0] = 0.0
    scale[scale < _CONSTANT] = 1.0
    scaled = (x - center) / scale

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = scaled @ weights
        value = np.logaddexp(0.0, logits) - correct * logits
        slope = scaled.T @ (1.0 / (1.0 + np.exp(-logits)) - correct) / len(correct)
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


def _fit_curve(probability: np.ndarray, correct: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield points of a monotonic curve through the means of groups of equal size."""
    order = np.argsort(probability, kind='stable')
    groups = np.array_split(order, _GROUPS)
    x = np.array([probability[group].mean() for group in groups])
    y = isotonic_regression(np.array([correct[group].mean() for group in groups])).x
    # Of a flat part only the ends are needed.
    inner = (np.diff(y, prepend=np.nan) == 0.0) & (np.diff(y, append=np.nan) == 0.0)
    for at, value in zip(x[~inner], y[~inner], strict=True):
        yield round(float(at), 6), round(float(value), 6)
