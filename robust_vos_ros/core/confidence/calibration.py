"""Calibration: fitted models that map evidence of a mask to probabilities.

Predicted IoU and object score are not probabilities, and less reliable in bad weather or for
unseen objects. The models are fitted on corrupted clips by `robust-vos calibrate` and stored as
NAME.calibration.json beside the weights. The file names the weights and is refused for others.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import torch

from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.reid.appearance import Projection, feature_map_width
from robust_vos_ros.core.settings import Settings, parse_settings

_MAX_LOGIT = 6.0
_MAX_MARGIN = 3.0
_MAX_SCORE = 12.0
_MAX_AGE_S = 10.0  # calibration clips are not longer
_UNKNOWN = 0.8  # similarity and margin of an object with an empty gallery
_UNKNOWN_FIT, _LEAST_FIT = 0.4, 0.05  # of the classifier; 0.4 is the median of good masks


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Inputs of the calibration for one mask.

    Attributes:
        iou: Predicted IoU in [0, 1].
        object_score: Logit, above 0 the object is visible.
        margin: Lead of the hypothesis over the next, in cumulative log IoU; infinite where alone.
        area_change: Absolute log ratio of the mask's area to the last visible one.
        gate_activity: Share of open gates, NaN without an adapter.
        memory_age_s: Time since a frame of the object entered memory.
        similarity: Cosine to the nearest center of its gallery; NaN = unknown.
        similarity_margin: `similarity` minus that to the most similar other object; NaN = unknown.
        mean_similarity: Running mean of the object's similarity; NaN = unknown.
        verified: Cosine to the nearest verified exemplar, of a prompted frame or one shortly
            after; NaN = unknown.
        growth: Log ratio of the mask's area to the expected area.
        extent: Log ratio of the mask's radius of gyration to the expected one.
        misfit: Misfit of the prompted mask in [0, 1], see `prompts.hold_to_prompts`.
        classifier_fit: Agreement of the mask with the classifier of the prompt, 0 to 1, see
            `object_classifier.agreement`; NaN = unknown.
        searching: Whether the object was not visible in the previous frame.
    """

    iou: float
    object_score: float
    margin: float = math.inf
    area_change: float = 0.0
    gate_activity: float = math.nan
    memory_age_s: float = 0.0
    similarity: float = math.nan
    similarity_margin: float = math.nan
    mean_similarity: float = math.nan
    verified: float = math.nan
    growth: float = 0.0
    extent: float = 0.0
    misfit: float = 0.0
    classifier_fit: float = math.nan
    searching: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """Estimated probabilities of one mask.

    Attributes:
        p_correct: P(IoU > 0.5).
        p_on_object: P(IoU > 0.1), at least `p_correct`.
    """

    p_correct: float
    p_on_object: float


# Names in calibration files: `lead` is the similarity margin, `usual` the mean similarity, `drop`
# the mean similarity minus the similarity.
FEATURES = (
    'one', 'iou_logit', 'object_score', 'margin', 'area_change', 'gate_activity', 'memory_age',
    'similarity', 'lead', 'usual', 'drop', 'verified', 'growth', 'shrinkage', 'extent', 'misfit',
    'classifier_fit',
)  # fmt: skip
_FORMAT = 'robust_vos calibration'
# Features that files of earlier formats lack.
_ADDED = {2: ('verified', 'growth', 'shrinkage', 'extent', 'misfit'), 3: ('classifier_fit',)}


def to_features(evidence: Evidence) -> np.ndarray:
    """Return the (17,) float64 inputs of the logistic model, in the order of `FEATURES`."""
    iou = min(1.0 - 1e-6, max(1e-6, evidence.iou))
    logit = math.log(iou / (1.0 - iou))
    activity = 0.0 if math.isnan(evidence.gate_activity) else evidence.gate_activity
    similarity, similarity_margin, mean_similarity, verified = (
        _UNKNOWN if math.isnan(value) else max(-1.0, min(1.0, value))
        for value in (
            evidence.similarity,
            evidence.similarity_margin,
            evidence.mean_similarity,
            evidence.verified,
        )
    )
    fit = _UNKNOWN_FIT if math.isnan(evidence.classifier_fit) else evidence.classifier_fit
    similarity_drop = evidence.mean_similarity - evidence.similarity
    return np.array(
        [
            1.0,
            max(-_MAX_LOGIT, min(_MAX_LOGIT, logit)),
            max(-_MAX_SCORE, min(_MAX_SCORE, evidence.object_score)),
            min(_MAX_MARGIN, evidence.margin),
            min(_MAX_MARGIN, evidence.area_change),
            activity,
            math.log1p(min(_MAX_AGE_S, max(0.0, evidence.memory_age_s))),
            similarity,
            similarity_margin,
            mean_similarity,
            0.0 if math.isnan(similarity_drop) else max(0.0, similarity_drop),
            verified,
            max(0.0, min(_MAX_MARGIN, evidence.growth)),
            max(0.0, min(_MAX_MARGIN, -evidence.growth)),
            min(_MAX_MARGIN, abs(evidence.extent)),
            evidence.misfit,
            math.log(max(_LEAST_FIT, fit)),
        ]
    )


# The names in files are older than those of the fields.
_FILE_CONFIG = pydantic.ConfigDict(
    extra='forbid', frozen=True, validate_by_name=True, validate_by_alias=True,
    serialize_by_alias=True,
)  # fmt: skip
Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]


class Fit(Settings):
    """A fitted probability.

    Attributes:
        weights: Of the logistic model, by feature.
        curve: (x, y) of an increasing piecewise linear map of its output (isotonic regression);
            empty = none.
    """

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    weights: dict[str, float]
    curve: list[tuple[Share, Share]] = pydantic.Field(default_factory=list)

    @pydantic.field_validator('weights')
    @classmethod
    def _check_names(cls, weights: dict[str, float]) -> dict[str, float]:
        if set(weights) != set(FEATURES):
            raise ValueError(
                f'expected weights of {", ".join(FEATURES)}, got {", ".join(weights)}; run '
                'robust-vos calibrate again'
            )
        return weights

    @pydantic.field_validator('curve')
    @classmethod
    def _check_rising(cls, curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
        if curve != sorted(curve) or any(a[1] > b[1] for a, b in itertools.pairwise(curve)):
            raise ValueError('the points of the curve must rise')
        return curve


class Fits(Settings):
    """Both probabilities of `Estimate`."""

    model_config = _FILE_CONFIG

    p_correct: Fit = pydantic.Field(alias='right')
    p_on_object: Fit = pydantic.Field(alias='there')


class SavedProjection(Settings):
    """A `Projection` as numbers: center (D) and matrix (D rows of E)."""

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    center: list[float] = pydantic.Field(min_length=1)
    matrix: list[list[float]]

    @pydantic.model_validator(mode='after')
    def _check_shape(self) -> SavedProjection:
        widths = {len(row) for row in self.matrix}
        if len(self.matrix) != len(self.center) or len(widths) != 1 or widths == {0}:
            raise ValueError(
                f'expected a matrix of {len(self.center)} rows of one length, got '
                f'{len(self.matrix)} rows of {sorted(widths)}'
            )
        return self

    def load(self) -> Projection:
        """Return the map as tensors."""
        return Projection(torch.tensor(self.center), torch.tensor(self.matrix))


class CalibrationFile(Settings):
    """Contents of a calibration file.

    Attributes:
        model: Name of the model.
        weights_sha256: Hash of the weights it was fitted for.
        data: Description of the data it was fitted on.
        date: Day of the fit, ISO 8601.
        samples: Number of fitted masks.
        following: For objects that were visible in the previous frame.
        searching: For objects that were not.
        projection: Of appearance embeddings, fitted with the calibration.
    """

    model_config = _FILE_CONFIG

    format: Literal['robust_vos calibration 4'] = 'robust_vos calibration 4'
    model: str
    weights_sha256: str
    data: str
    date: str
    samples: int = pydantic.Field(ge=1)
    following: Fits
    searching: Fits
    projection: SavedProjection = pydantic.Field(alias='looks')

    @pydantic.model_validator(mode='before')
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Upgrade a file of format 2 or 3: features that it lacks get weight 0."""
        for older, names in _ADDED.items():
            if isinstance(values, dict) and values.get('format') == f'{_FORMAT} {older}':
                values = copy.deepcopy(values) | {'format': f'{_FORMAT} {older + 1}'}
                for group, what in itertools.product(
                    ('following', 'searching'), ('right', 'there')
                ):
                    with contextlib.suppress(KeyError, TypeError):  # the fields are checked later
                        values[group][what]['weights'].update(dict.fromkeys(names, 0.0))
        return values


class Calibration:
    """Maps evidence to probabilities.

    Args:
        file: The fitted models.

    Attributes:
        file: Likewise.
        projection: Of appearance embeddings, fitted with the calibration.
    """

    def __init__(self, file: CalibrationFile) -> None:
        self.file = file
        self.projection = file.projection.load()
        self._fits = {
            (searching, what): _Curve(getattr(fits, what))
            for searching, fits in ((False, file.following), (True, file.searching))
            for what in ('p_correct', 'p_on_object')
        }

    def estimate(self, evidence: Evidence) -> Estimate:
        """Return the probabilities of a mask."""
        features = to_features(evidence)
        p_correct, p_on_object = (
            self._fits[evidence.searching, what].probability(features)
            for what in ('p_correct', 'p_on_object')
        )
        return Estimate(p_correct, max(p_correct, p_on_object))


class _Curve:
    def __init__(self, fit: Fit) -> None:
        self._weights = np.array([fit.weights[name] for name in FEATURES])
        self._curve = np.array(fit.curve).reshape(-1, 2)

    def probability(self, features: np.ndarray) -> float:
        logit = float(self._weights @ features)
        chance = 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))
        if len(self._curve):
            chance = float(np.interp(chance, self._curve[:, 0], self._curve[:, 1]))
        return chance


def read_file(path: Path) -> CalibrationFile:
    """Read a calibration file made for any weights.

    Raises:
        WeightsError: It is not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return parse_settings(CalibrationFile, content)
    except Exception as error:  # OSError, UnicodeDecodeError, JSONDecodeError, ConfigError, ...
        raise WeightsError(f'{path} is not a calibration: {error}') from error


def read_calibration(
    path: Path, *, model: str, weights_sha256: str, hidden_dim: int
) -> Calibration:
    """Read a calibration file made for some weights.

    Args:
        path: The file.
        model: Name of the model; `weights_sha256` and `hidden_dim` are of its weights.

    Raises:
        WeightsError: The file cannot be read, or was made for other weights; the message names
            both.
    """
    file = read_file(path)
    if (file.model, file.weights_sha256) != (model, weights_sha256):
        raise WeightsError(
            f'{path} was made for {file.model} with weights {file.weights_sha256[:12]}, not for '
            f'{model} with weights {weights_sha256[:12]}; run robust-vos calibrate'
        )
    expected, got = feature_map_width(hidden_dim), len(file.projection.center)
    if got != expected:
        raise WeightsError(f'{path}: expected a projection of {expected} numbers, got {got}')
    return Calibration(file)
