"""What is judged frame by frame, whatever the protocol: absences, wrong masks, confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval import measures
from robust_vos_ros.eval.absences import DELAY_S, Rows, Verdict, judge
from robust_vos_ros.eval.calibration import bin_sums, expected_errors, squared_error
from robust_vos_ros.eval.measures import Measure
from robust_vos_ros.eval.records import SequenceRecord

# The tables of all objects of one sequence, in one or several conditions.
Tables = list[Rows]
Choice = Callable[[Rows], np.ndarray]

# Frames over which the confidence is judged; that of the prompt never counts.
_GROUPS: dict[str, Choice] = {
    '': lambda rows: np.ones(len(rows.j), bool),
    ' clean': lambda rows: ~rows.weather,
    ' corrupted': lambda rows: rows.weather,
    ' masked': lambda rows: rows.masked,
}


def of_absences(records: Sequence[SequenceRecord]) -> dict[str, Measure]:
    """Return how objects were followed through their absences.

    Args:
        records: One per sequence.
    """
    verdicts = [
        [verdict for rows in record.tables() for verdict in judge(rows, record.rate_hz)]
        for record in records
    ]
    result = {}
    for name, wanted in (('', None), (' hidden', False), (' exit', True)):
        chosen = [[v for v in some if wanted is None or v.exit is wanted] for some in verdicts]
        kept = [[v.kept for v in some if v.kept is not None] for some in chosen]
        result[f'kept{name}'] = measures.ratio([[sum(some), len(some)] for some in kept])
        result[f'false{name}'] = _share(chosen, lambda verdict: verdict.false)
    result['in time'] = _share(verdicts, lambda verdict: verdict.delay_s <= DELAY_S)
    every = [verdict for some in verdicts for verdict in some]
    result['delay s'] = measures.median([verdict.delay_s for verdict in every])
    back = [verdict.back_s for verdict in every if verdict.back_s is not None]
    result['back s'] = measures.median(back)
    return result


def of_masks(records: Sequence[SequenceRecord]) -> dict[str, Measure]:
    """Return how often a mask misleads; arguments as in `of_absences`."""
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


def of_weather(records: Sequence[SequenceRecord]) -> dict[str, Any]:
    """Return whether the confidence means what it says, in clean and in corrupted frames.

    Args:
        records: Of all sequences, in all conditions.

    Returns:
        Measures, and `reliability`: the bins that are not empty, by group.
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
    """Return the tables of each sequence: sequences are what is resampled."""
    tables: dict[str, Tables] = {}
    for record in records:
        tables.setdefault(record.sequence, []).extend(record.tables())
    return list(tables.values())


def _share(verdicts: Sequence[Sequence[Verdict]], so: Callable[[Verdict], bool]) -> Measure:
    return measures.ratio([[sum(so(v) for v in some), len(some)] for some in verdicts])


def _absent_masked(tables: Sequence[Tables], choice: Choice) -> Measure:
    """Return the share of absent frames in which a mask is published."""
    pairs = []
    for some in tables:
        absent = [(rows.absent & choice(rows))[1:] for rows in some]
        masked = [part & rows.masked[1:] for part, rows in zip(absent, some, strict=True)]
        pairs.append([sum(int(part.sum()) for part in parts) for parts in (masked, absent)])
    return measures.ratio(pairs)


def _outcomes(tables: Tables, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and whether the mask is right, of all chosen frames after the prompt."""
    kept = [choice(rows)[1:] for rows in tables]
    pairs = list(zip(tables, kept, strict=True))
    confidence = np.concatenate([rows.confidence[1:][part] for rows, part in pairs])
    return confidence, np.concatenate([rows.right[1:][part] for rows, part in pairs])


def _bins(tables: Tables, choice: Choice) -> np.ndarray:
    return bin_sums(*_outcomes(tables, choice))


def _squares(tables: Tables) -> list[float]:
    """Return the sum of squared errors of the confidence, and the number of frames."""
    confidence, right = _outcomes(tables, _GROUPS[''])
    return [squared_error(confidence, right), len(right)]


def _reliability(sums: np.ndarray) -> list[dict[str, float]]:
    """Return the bins that are not empty, as `charts.reliability_diagram` takes them."""
    return [
        {'confidence': confidence / count, 'accuracy': right / count, 'count': int(count)}
        for count, confidence, right in sums.T.tolist()
        if count
    ]
