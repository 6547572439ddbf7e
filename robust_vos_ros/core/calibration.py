"""From what the network says to P(IoU > 0.5): a logistic model, stored with the weights it fits.

Predicted IoU and object score are no probabilities, and mean less in bad weather. What was
fitted on corrupted clips is a file NAME.calibration.json beside the weights; it names the weights
and is refused for others. `robust-vos calibrate` makes one.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic

from robust_vos_ros.core.config import Settings, parse_settings
from robust_vos_ros.core.errors import WeightsError

_MAX_LOGIT = 6.0
_MAX_MARGIN = 3.0
_MAX_SCORE = 12.0
_MAX_AGE_S = 10.0  # as far as calibration clips reach
_MAX_SIMILARITY = 1.2  # more alike than ever is no surer


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a mask besides its pixels.

    Attributes:
        iou: Predicted IoU in [0, 1].
        object_score: Logit, above 0 the object is visible.
        margin: Lead of the pathway over the next, in cumulative log IoU; infinite where alone.
        area_change: Absolute log ratio of the mask's area to the one last seen.
        gate_activity: Share of open gates, NaN without an adapter.
        memory_age_s: Time since the object last entered memory.
        similarity: To its prototypes, about 1 as the object has looked; NaN = unknown.
    """

    iou: float
    object_score: float
    margin: float = math.inf
    area_change: float = 0.0
    gate_activity: float = math.nan
    memory_age_s: float = 0.0
    similarity: float = math.nan


FEATURES = (
    'one', 'iou_logit', 'object_score', 'margin', 'area_change', 'gate_activity', 'memory_age',
    'similarity',
)  # fmt: skip


def to_features(evidence: Evidence) -> np.ndarray:
    """Return the (8,) float64 inputs of the logistic model, in the order of `FEATURES`."""
    iou = min(1.0 - 1e-6, max(1e-6, evidence.iou))
    logit = math.log(iou / (1.0 - iou))
    activity = 0.0 if math.isnan(evidence.gate_activity) else evidence.gate_activity
    alike = 1.0 if math.isnan(evidence.similarity) else evidence.similarity
    return np.array(
        [
            1.0,
            max(-_MAX_LOGIT, min(_MAX_LOGIT, logit)),
            max(-_MAX_SCORE, min(_MAX_SCORE, evidence.object_score)),
            min(_MAX_MARGIN, evidence.margin),
            min(_MAX_MARGIN, evidence.area_change),
            activity,
            math.log1p(min(_MAX_AGE_S, max(0.0, evidence.memory_age_s))),
            max(-1.0, min(_MAX_SIMILARITY, alike)),
        ]
    )


Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]


class CalibrationFile(Settings):
    """Contents of a calibration file.

    Attributes:
        model: Name of the model.
        weights_sha256: Hash of the weights it was fitted for.
        data: What it was fitted on, for people.
        date: Day of the fit, ISO 8601.
        samples: Number of masks it was fitted on.
        weights: Of the logistic model, by feature.
        curve: (x, y) of a rising piecewise linear map of its probability (isotonic regression);
            empty = none.
    """

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    format: Literal['robust_vos calibration 1'] = 'robust_vos calibration 1'
    model: str
    weights_sha256: str
    data: str
    date: str
    samples: int = pydantic.Field(ge=1)
    weights: dict[str, float]
    curve: list[tuple[Share, Share]] = pydantic.Field(default_factory=list)

    @pydantic.field_validator('curve')
    @classmethod
    def _check_rising(cls, curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
        if curve != sorted(curve) or any(a[1] > b[1] for a, b in itertools.pairwise(curve)):
            raise ValueError('the points of the curve must rise')
        return curve


class Calibration:
    """P(IoU > 0.5) from evidence.

    Args:
        file: What was fitted.

    Raises:
        WeightsError: It has other features than this version.
    """

    def __init__(self, file: CalibrationFile) -> None:
        if set(file.weights) != set(FEATURES):
            raise WeightsError(
                f'calibration of {file.model}: expected weights of {", ".join(FEATURES)}, got '
                f'{", ".join(file.weights)}; run robust-vos calibrate again'
            )
        self.file = file
        self._weights = np.array([file.weights[name] for name in FEATURES])
        self._curve = np.array(file.curve).reshape(-1, 2)

    def probability(self, evidence: Evidence) -> float:
        """Return P(IoU > 0.5) in [0, 1]."""
        logit = float(self._weights @ to_features(evidence))
        chance = 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))
        if len(self._curve):
            chance = float(np.interp(chance, self._curve[:, 0], self._curve[:, 1]))
        return chance


def read_calibration(path: Path, *, model: str, weights_sha256: str) -> Calibration:
    """Read a calibration file made for some weights.

    Raises:
        WeightsError: The file cannot be read, or was made for others; names both.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        file = parse_settings(CalibrationFile, content)
    except Exception as error:  # OSError, UnicodeDecodeError, JSONDecodeError, ConfigError, ...
        raise WeightsError(f'{path} is not a calibration: {error}') from error
    if (file.model, file.weights_sha256) != (model, weights_sha256):
        raise WeightsError(
            f'{path} was made for {file.model} with weights {file.weights_sha256[:12]}, not for '
            f'{model} with weights {weights_sha256[:12]}; run robust-vos calibrate'
        )
    return Calibration(file)
