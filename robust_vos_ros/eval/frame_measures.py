"""Measures over frames that do not depend on the protocol: absences, wrong masks, confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval import measures
from robust_vos_ros.eval.absences import MAX_DELAY_S, AbsenceScore, Rows, score_absences
from robust_vos_ros.eval.calibration import bin_sums, expected_errors, squared_error
from robust_vos_ros.eval.measures import Measure
from robust_vos_ros.eval.records import SequenceRecord

# The arrays of all objects of one sequence, under one or several conditions.
Tables = list[Rows]
Choice = Callable[[Rows], np.ndarray]

# Frames over which the confidence is measured, without the frame of the prompt.
_GROUPS: dict[str, Choice] = {
    '': lambda rows: np.ones(len(rows.j), bool),
    ' clean': lambda rows: ~rows.corrupted,
    ' corrupted': lambda rows: rows.corrupted,
    ' masked': lambda rows: rows.masked,
}


def absence_measures(records: Sequence[SequenceRecord]) -> dict[str, Measure]:
    """Return how objects are tracked through absences.

    Args:
        records: One per sequence.
    """
    scores = [
        [score for rows in record.tables() for score in score_absences(rows, record.rate_hz)]
        for record in records
    ]
    result = {}
    for name, wanted in (('', None), (' hidden', False), (' exit', True)):
        chosen = [[v for v in some if wanted is None or v.exit is wanted] for some in scores]
        kept = [[v.kept for v in some if v.kept is not None] for some in chosen]
        result[f'kept{name}'] = measures.ratio([[sum(some), len(some)] for some in kept])
        result[f'false{name}'] = _share(chosen, lambda score: score.false)
    result['in time'] = _share(scores, lambda score: score.delay_s <= MAX_DELAY_S)
    every = [score for some in scores for score in some]
    result['delay s'] = measures.median([score.delay_s for score in every])
    back = [score.back_s for score in every if score.back_s is not None]
    result['back s'] = measures.median(back)
    return result


def wrong_mask_measures(records: Sequence[SequenceRecord]) -> dict[str, Measure]:
    """Return how often a wrong mask is published; arguments as in `absence_measures`."""
    tables = _by_sequence(records)
    return {
        'absent masked': _absent_masked(tables, _GROUPS['']),
        'confidently wrong': measures.ratio(
            [
                [
                    sum(int(rows.confidently_wrong[1:].sum()) for rows in some),
                    sum(len(rows.j) - 1 for rows in some),
                ]
                for some in tables
            ]
        ),
    }


def confidence_measures(records: Sequence[SequenceRecord]) -> dict[str, Any]:
    """Return the calibration errors of the confidence, over clean and over corrupted frames.

    Args:
        records: Of all sequences, under all conditions.

    Returns:
        Measures, and `reliability`: the bins that are not empty, by group of frames.
    """
    tables = _by_sequence(records)
    result: dict[str, Any] = {'reliability': {}}
    for group, choice in _GROUPS.items():
        sums = np.array([_bins(some, choice) for some in tables])
        result[f'ECE{group}'] = measures.of_sums(sums, expected_errors, int(sums[:, 0].sum()))
        result['reliability'][group.strip() or 'all'] = _reliability(sums.sum(axis=0))
    result['Brier score'] = measures.ratio([_squares(some) for some in tables])
    result['absent masked corrupted'] = _absent_masked(tables, _GROUPS[' corrupted'])
    return result


def _by_sequence(records: Sequence[SequenceRecord]) -> list[Tables]:
    """Return the arrays of each sequence; intervals come from resampling sequences."""
    tables: dict[str, Tables] = {}
    for record in records:
        tables.setdefault(record.sequence, []).extend(record.tables())
    return list(tables.values())


def _share(
    scores: Sequence[Sequence[AbsenceScore]], holds: Callable[[AbsenceScore], bool]
) -> Measure:
    return measures.ratio([[sum(holds(score) for score in some), len(some)] for some in scores])


def _absent_masked(tables: Sequence[Tables], choice: Choice) -> Measure:
    """Return the share of absent frames in which a mask is published."""
    pairs = []
    for some in tables:
        absent = [(rows.absent & choice(rows))[1:] for rows in some]
        masked = [part & rows.masked[1:] for part, rows in zip(absent, some, strict=True)]
        pairs.append([sum(int(part.sum()) for part in parts) for parts in (masked, absent)])
    return measures.ratio(pairs)


def _outcomes(tables: Tables, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and correctness of the masks of all chosen frames after the prompt."""
    kept = [choice(rows)[1:] for rows in tables]
    pairs = list(zip(tables, kept, strict=True))
    confidence = np.concatenate([rows.confidence[1:][part] for rows, part in pairs])
    return confidence, np.concatenate([rows.correct[1:][part] for rows, part in pairs])


def _bins(tables: Tables, choice: Choice) -> np.ndarray:
    return bin_sums(*_outcomes(tables, choice))


def _squares(tables: Tables) -> list[float]:
    """Return the sum of squared errors of the confidence, and the number of frames."""
    confidence, correct = _outcomes(tables, _GROUPS[''])
    return [squared_error(confidence, correct), len(correct)]


def _reliability(sums: np.ndarray) -> list[dict[str, float]]:
    """Return the bins that are not empty, for `charts.reliability_diagram`."""
    return [
        {'confidence': confidence / count, 'accuracy': correct / count, 'count': int(count)}
        for count, confidence, correct in sums.T.tolist()
        if count
    ]
