"""Compute the measures of a report from the records of one variant.

J&F, J, F and their differences are in percent, shares and errors in [0, 1], delays in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval import measures
from robust_vos_ros.eval.frame_measures import (
    absence_measures,
    confidence_measures,
    wrong_mask_measures,
)
from robust_vos_ros.eval.measures import Measure
from robust_vos_ros.eval.metrics import SequenceScore, mean_of
from robust_vos_ros.eval.protocols import CLIPS, ObjectScores, mean_score, scored_objects
from robust_vos_ros.eval.records import Condition, SequenceRecord
from robust_vos_ros.eval.stability import decay

NUM_FIFTHS = 5
_NUM_TIME_BINS = 10

# The scored objects of each sequence.
Scores = list[list[ObjectScores]]


def summarize(records: Sequence[SequenceRecord], protocol: str) -> dict[str, Any]:
    """Return the measures of one variant; docs/benchmark.md defines them.

    Args:
        records: One for each sequence and condition.
        protocol: A key of `protocols.NOTES`.

    Returns:
        Measures (`measures.Measure`), and tables: `per_sequence`, `per_corruption`, `curves` and
        `reliability`.
    """
    groups: dict[Condition, list[SequenceRecord]] = {}
    for record in records:
        groups.setdefault(record.condition, []).append(record)
    scores = {
        condition: [scored_objects(record, protocol) for record in group]
        for condition, group in groups.items()
    }
    main = [record for record in records if not record.condition.is_corrupted]
    others = [record for record in records if record.condition.is_corrupted]
    clean = [some for c, group in scores.items() if not c.is_corrupted for some in group]
    corrupted = {c: _flat(group) for c, group in scores.items() if c.is_corrupted and _flat(group)}
    frames = sum(record.num_frames for record in records)
    return {
        **_scores(clean, per_sequence=protocol == CLIPS),
        **_over_time(clean),
        **absence_measures(main),
        **wrong_mask_measures(main),
        **confidence_measures(records),
        **_jitter(main, others),
        **_robustness(clean, corrupted),
        'ms per frame': measures.without_interval(
            1000.0 * sum(r.seconds for r in records) / frames, frames
        ),
        'per_sequence': {some[0].sequence: _percents(mean_score(some)) for some in clean if some},
        'per_corruption': _by_corruption(corrupted),
        'curves': {
            **{record.condition.corruption: _curve(_flat(clean)) for record in main[:1]},
            'corrupted': _curve([item for group in corrupted.values() for item in group]),
        },
    }


def differences(
    base: Sequence[SequenceRecord], other: Sequence[SequenceRecord], protocol: str
) -> dict[str, Measure]:
    """Return the gains of a variant over another in J&F, in percentage points.

    Sequences are paired and count alike, whatever their number of objects; the 95% intervals come
    from resampling them. Keys: `clean` or `segments`, each corruption, and `corrupted` for the
    mean over all corruptions.
    """
    scores = [_sequence_scores(records, protocol) for records in (base, other)]
    corrupted = {r.condition.corruption for r in base if r.condition.is_corrupted}
    names = {name: {name} for name, _ in scores[0]}
    names |= {'corrupted': corrupted} if corrupted else {}
    result = {}
    for name, corruptions in names.items():
        values = []
        for sequence in dict.fromkeys(sequence for _, sequence in scores[0]):
            first, second = (_mean_over(table, corruptions, sequence) for table in scores)
            if first is not None and second is not None:
                values.append(second - first)
        if values:
            result[name] = measures.mean(values)
    return result


def _scores(clean: Scores, *, per_sequence: bool) -> dict[str, Measure]:
    """Return J&F, J and F: means over all objects, or over the objects of each sequence first."""
    values: dict[str, Callable[[ObjectScores], float]] = {
        'J&F': lambda item: item.jf.mean(),
        'J': lambda item: item.j.mean(),
        'F': lambda item: item.f.mean(),
    }
    result = {}
    for name, value in values.items():
        parts = [[value(item) for item in some] for some in clean if some]
        if per_sequence:
            result[name] = measures.mean([100.0 * float(np.mean(part)) for part in parts])
        else:
            result[name] = measures.ratio([[100.0 * sum(part), len(part)] for part in parts])
    return result


def _over_time(clean: Scores) -> dict[str, Measure]:
    """Return J&F of visible objects, J&F in fifths of the frames, its fall, and the decay of J."""
    views = [[item.jf[item.seen].mean() for item in some if item.seen.any()] for some in clean]
    result = {
        'J&F in view': measures.mean([100.0 * float(np.mean(part)) for part in views if part])
    }
    long = [[item for item in some if len(item.j) >= NUM_FIFTHS] for some in clean]
    fifths = [_fifths(some) for some in long if some]
    for number in range(NUM_FIFTHS):
        result[f'J&F fifth {number + 1}'] = measures.mean([parts[number] for parts in fifths])
    result['fall'] = measures.mean([parts[0] - parts[-1] for parts in fifths])
    result['decay'] = measures.mean_known([decay(item.j) for item in _flat(clean)])
    return result


def _fifths(objects: Sequence[ObjectScores]) -> np.ndarray:
    """Return the (5,) mean J&F over objects in each fifth of their scored frames, in percent."""
    parts = [np.array_split(item.jf, NUM_FIFTHS) for item in objects]
    return 100.0 * np.mean([[part.mean() for part in own] for own in parts], axis=0)


def _robustness(
    clean: Scores, corrupted: dict[Condition, list[ObjectScores]]
) -> dict[str, Measure]:
    """Return Q_p, R_p, mPC and rPC.

    Q_p is the mean over perturbations and R_p the loss against clean (AOC, Xu et al., ACM MM
    2022); mPC is the mean over corruptions and rPC its ratio to clean (Michaelis et al., arXiv
    1907.07484). For Q_p every corruption at every severity is one perturbation, for mPC the
    severities of a corruption are averaged first.
    """
    count = len(corrupted)
    if not count:
        return {name: measures.without_interval(None, 0) for name in ('Q_p', 'R_p', 'mPC', 'rPC')}
    scores = {condition: 100.0 * mean_score(group).jf for condition, group in corrupted.items()}
    names = dict.fromkeys(condition.corruption for condition in scores)
    rows = [[score for c, score in scores.items() if c.corruption == name] for name in names]
    q_p = float(np.mean(list(scores.values())))
    mpc = float(np.mean([np.mean(row) for row in rows]))
    jf = 100.0 * mean_score(_flat(clean)).jf if _flat(clean) else None
    return {
        'Q_p': measures.without_interval(q_p, count),
        'R_p': measures.without_interval(None if jf is None else jf - q_p, count),
        'mPC': measures.without_interval(mpc, len(names)),
        'rPC': measures.without_interval(100.0 * mpc / jf if jf else None, len(names)),
    }


def _by_corruption(corrupted: dict[Condition, list[ObjectScores]]) -> dict[str, Any]:
    """Return the score of each corruption: the mean over severities, and each severity."""
    table: dict[str, dict[str, SequenceScore]] = {}
    for condition, objects in corrupted.items():
        row = table.setdefault(condition.corruption, {})
        row[f'{condition.severity:g}'] = mean_score(objects)
    return {
        name: {
            **_percents(mean_of(list(row.values()))),
            'severities': {severity: _percents(score) for severity, score in row.items()},
        }
        for name, row in table.items()
    }


def _jitter(
    main: Sequence[SequenceRecord], corrupted: Sequence[SequenceRecord]
) -> dict[str, Measure]:
    """Return the jitter of published and of true masks."""
    result = {}
    for name, records in (('', main), (' corrupted', corrupted)):
        objects = [item for record in records for item in record.objects]
        result[f'jitter{name}'] = measures.mean_known([item.jitter for item in objects])
        true = measures.mean_known([item.true_jitter for item in objects])
        result[f'true jitter{name}'] = true
    return result


def _curve(objects: Sequence[ObjectScores]) -> list[float | None]:
    """Return J&F in percent in ten parts of the time of the clips."""
    values: list[list[float]] = [[] for _ in range(_NUM_TIME_BINS)]
    for item in objects:
        bins = np.minimum(item.frames * _NUM_TIME_BINS // item.num_frames, _NUM_TIME_BINS - 1)
        for position in np.unique(bins):
            kept = bins == position
            values[position].append(50.0 * float(item.j[kept].mean() + item.f[kept].mean()))
    return [float(np.mean(part)) if part else None for part in values]


def _sequence_scores(
    records: Sequence[SequenceRecord], protocol: str
) -> dict[tuple[str, str], list[float]]:
    """Return J&F in percent by (corruption, sequence), one per severity."""
    table: dict[tuple[str, str], list[float]] = {}
    for record in records:
        objects = scored_objects(record, protocol)
        if objects:
            key = record.condition.corruption, record.sequence
            score = 100.0 * float(np.mean([item.jf.mean() for item in objects]))
            table.setdefault(key, []).append(score)
    return table


def _mean_over(
    table: dict[tuple[str, str], list[float]], corruptions: set[str], sequence: str
) -> float | None:
    """Return the mean over corruptions with equal weights."""
    found = [np.mean(v) for (name, s), v in table.items() if s == sequence and name in corruptions]
    return float(np.mean(found)) if found else None


def _flat(scores: Scores) -> list[ObjectScores]:
    return [item for some in scores for item in some]


def _percents(score: SequenceScore) -> dict[str, float]:
    return {'J&F': 100.0 * score.jf, 'J': 100.0 * score.j, 'F': 100.0 * score.f}
