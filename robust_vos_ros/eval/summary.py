"""Records of a benchmark to the numbers of a report.

J&F, J, F and what is made of them are in percent; all other numbers are shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval.calibration import brier_score, reliability
from robust_vos_ros.eval.intervals import bootstrap_interval
from robust_vos_ros.eval.metrics import SequenceScore
from robust_vos_ros.eval.protocols import (
    ObjectScores,
    by_sequence,
    mean_score,
    scored_objects,
)
from robust_vos_ros.eval.records import CLEAN, Condition, ObjectRecord, SequenceRecord
from robust_vos_ros.eval.stability import decay

_NUM_TIME_BINS = 10


def summarize(records: Sequence[SequenceRecord], protocol: str) -> dict[str, Any]:
    """Return the results of one variant; None where nothing can be scored.

    Q_p and R_p are the mean over perturbations and the loss against clean of AOC (Xu et al., ACM
    MM 2022); mPC and rPC the mean over corruptions and its ratio to clean (Michaelis et al.,
    arXiv 1907.07484). Of the first every corruption at every severity is one perturbation, of the
    second the severities of a corruption are averaged before.
    """
    objects = {
        condition: list(scored_objects(group, protocol))
        for condition, group in _by_condition(records).items()
    }
    clean = [item for c, group in objects.items() if c.corruption == CLEAN for item in group]
    spoilt = {c: group for c, group in objects.items() if c.corruption != CLEAN and group}
    clean_score = mean_score(clean) if clean else None
    corruptions = _by_corruption(spoilt)
    return {
        **_percents(clean_score),
        'per_sequence': {name: _percents(s) for name, s in by_sequence(clean).items()},
        'per_corruption': corruptions,
        **_robustness(clean_score, spoilt, corruptions),
        **_frames(records),
        'j_decay': _mean([decay(item.j) for item in clean]),
        'curves': {
            'clean': _curve(clean),
            'corrupted': _curve([item for group in spoilt.values() for item in group]),
        },
        'fps': round(
            sum(r.num_frames for r in records) / max(1e-9, sum(r.seconds for r in records)), 2
        ),
    }


def differences(
    base: Sequence[SequenceRecord], other: Sequence[SequenceRecord], protocol: str
) -> dict[str, Any]:
    """Return how much a variant gains over another in J&F, in points of percent.

    Sequences are paired and count alike, whatever their number of objects; the 95% interval comes
    from resampling them. Keys: `clean`, each
    corruption, and `corrupted` for the mean over all.
    """
    scores = [_sequence_scores(records, protocol) for records in (base, other)]
    names = list(dict.fromkeys(name for name, _ in scores[0]))
    result = {}
    for name in [*names, 'corrupted']:
        values = []
        for sequence in dict.fromkeys(sequence for _, sequence in scores[0]):
            pair = [_mean_over(table, name, sequence) for table in scores]
            if None not in pair:
                values.append(100.0 * (pair[1] - pair[0]))
        if values:
            low, high = bootstrap_interval(values)
            result[name] = {
                'J&F': round(float(np.mean(values)), 4),
                'interval': [round(low, 4), round(high, 4)],
                'num_sequences': len(values),
            }
    return result


def _by_condition(records: Sequence[SequenceRecord]) -> dict[Condition, list[SequenceRecord]]:
    groups: dict[Condition, list[SequenceRecord]] = {}
    for record in records:
        groups.setdefault(record.condition, []).append(record)
    return groups


def _by_corruption(spoilt: dict[Condition, list[ObjectScores]]) -> dict[str, Any]:
    """Return the score of each corruption: the mean over severities, and each of them."""
    table: dict[str, dict[str, SequenceScore]] = {}
    for condition, objects in spoilt.items():
        row = table.setdefault(condition.corruption, {})
        row[f'{condition.severity:g}'] = mean_score(objects)
    return {
        name: {
            **_percents(_mean_of(list(row.values()))),
            'severities': {severity: _percents(score) for severity, score in row.items()},
        }
        for name, row in table.items()
    }


def _robustness(
    clean: SequenceScore | None,
    spoilt: dict[Condition, list[ObjectScores]],
    corruptions: dict[str, Any],
) -> dict[str, float | None]:
    if not spoilt:
        return dict.fromkeys(('Q_p', 'R_p', 'mPC', 'rPC'))
    q_p = 100.0 * float(np.mean([mean_score(objects).jf for objects in spoilt.values()]))
    mpc = float(np.mean([row['J&F'] for row in corruptions.values()]))
    jf = None if clean is None else 100.0 * clean.jf
    return {
        'Q_p': round(q_p, 4),
        'R_p': None if jf is None else round(jf - q_p, 4),
        'mPC': round(mpc, 4),
        'rPC': round(100.0 * mpc / jf, 4) if jf else None,
    }


def _frames(records: Sequence[SequenceRecord]) -> dict[str, Any]:
    """Return what is judged by frames and not by protocol: confidence, false masks, jitter."""
    groups = {
        'clean': [r for r in records if r.condition.corruption == CLEAN],
        'corrupted': [r for r in records if r.condition.corruption != CLEAN],
    }
    result: dict[str, Any] = _confidence([item for r in records for item in r.objects])
    for name, group in groups.items():
        objects = [item for record in group for item in record.objects]
        result[name] = {
            **_confidence(objects, bins=True),
            'false_positives': _false_positives(objects),
            'jitter': _mean([item.jitter for item in objects]),
            'true_jitter': _mean([item.true_jitter for item in objects]),
        }
    return result


def _confidence(objects: Sequence[ObjectRecord], *, bins: bool = False) -> dict[str, Any]:
    """Return the calibration of the confidence as a probability of a mask with IoU > 0.5.

    The frame of the prompt is left out. Without a mask, or without the object, nothing is right.
    """
    confidence = np.array([c for item in objects for c in item.confidence[1:]])
    correct = np.array(
        [
            masked and present and j > 0.5
            for item in objects
            for masked, present, j in zip(
                item.masked[1:], item.present[1:], item.j[1:], strict=True
            )
        ],
        bool,
    )
    if not len(confidence):
        return {'ece': None, 'brier': None}
    table = reliability(confidence, correct)
    numbers: dict[str, Any] = {
        'ece': round(table.expected_error, 6),
        'brier': round(brier_score(confidence, correct), 6),
    }
    if bins:
        numbers['reliability'] = [
            {'confidence': _number(c), 'accuracy': _number(a), 'count': int(n)}
            for c, a, n in zip(table.confidence, table.accuracy, table.count, strict=True)
        ]
    return numbers


def _false_positives(objects: Sequence[ObjectRecord]) -> float | None:
    """Return the share of frames with a mask among those whose object is absent."""
    return _mean(
        [
            float(masked)
            for item in objects
            for masked, present in zip(item.masked, item.present, strict=True)
            if not present
        ]
    )


def _curve(objects: Sequence[ObjectScores]) -> list[float | None]:
    """Return J&F in percent over ten parts of the time of the clips."""
    values: list[list[float]] = [[] for _ in range(_NUM_TIME_BINS)]
    for item in objects:
        bins = np.minimum(item.frames * _NUM_TIME_BINS // item.num_frames, _NUM_TIME_BINS - 1)
        for position in np.unique(bins):
            kept = bins == position
            values[position].append(50.0 * float(item.j[kept].mean() + item.f[kept].mean()))
    return [_mean(part) for part in values]


def _sequence_scores(
    records: Sequence[SequenceRecord], protocol: str
) -> dict[tuple[str, str], list[float]]:
    """Return J&F in [0, 1] by (corruption, sequence), one per severity."""
    table: dict[tuple[str, str], list[float]] = {}
    for condition, group in _by_condition(records).items():
        for sequence, score in by_sequence(list(scored_objects(group, protocol))).items():
            table.setdefault((condition.corruption, sequence), []).append(score.jf)
    return table


def _mean_over(
    table: dict[tuple[str, str], list[float]], name: str, sequence: str
) -> float | None:
    is_meant: Callable[[str], bool] = (
        (lambda key: key != CLEAN) if name == 'corrupted' else (lambda key: key == name)
    )
    found = [np.mean(v) for (key, s), v in table.items() if s == sequence and is_meant(key)]
    return float(np.mean(found)) if found else None


def _mean_of(scores: Sequence[SequenceScore]) -> SequenceScore:
    return SequenceScore(
        float(np.mean([score.j for score in scores])),
        float(np.mean([score.f for score in scores])),
    )


def _percents(score: SequenceScore | None) -> dict[str, float | None]:
    if score is None:
        return {'J&F': None, 'J': None, 'F': None}
    values = {'J&F': score.jf, 'J': score.j, 'F': score.f}
    return {name: round(100.0 * value, 4) for name, value in values.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 6) if known else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
