"""The measures of a report as a table of texts: a row per measure, a column per variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robust_vos_ros.eval.measures import Measure

# Title, measure, factor, digits; docs/benchmark.md defines each.
_MEASURES = (
    ('J&F', 'J&F', 1, 1),
    ('J', 'J', 1, 1),
    ('F', 'F', 1, 1),
    ('in view', 'J&F in view', 1, 1),
    ('first fifth', 'J&F fifth 1', 1, 1),
    ('last fifth', 'J&F fifth 5', 1, 1),
    ('decay of J', 'decay', 1, 3),
    ('kept %', 'kept', 100, 0),
    ('false %', 'false', 100, 0),
    ('in time %', 'in time', 100, 0),
    ('masks on absent %', 'absent masked', 100, 1),
    ('masks on absent, corrupted %', 'absent masked corrupted', 100, 1),
    ('confidently wrong %', 'confidently wrong', 100, 2),
    ('ECE clean', 'ECE clean', 1, 3),
    ('ECE corrupted', 'ECE corrupted', 1, 3),
    ('ECE of masks', 'ECE masked', 1, 3),
    ('Brier score', 'Brier score', 1, 3),
    ('jitter', 'jitter', 1, 3),
    ('jitter, corrupted', 'jitter corrupted', 1, 3),
    ('jitter of the true masks', 'true jitter', 1, 3),
    ('Q_p', 'Q_p', 1, 1),
    ('R_p', 'R_p', 1, 1),
    ('mPC', 'mPC', 1, 1),
    ('rPC', 'rPC', 1, 1),
    ('ms per frame', 'ms per frame', 1, 1),
)


def table_rows(content: dict[str, Any]) -> list[list[str]]:
    """Return the heading, then a row for each measure that has a value, with its interval.

    Rows for corruptions and for gains over the first variant follow.

    Args:
        content: As `results.to_json` returns it.
    """
    variants = content['variants']
    rows = [['', *variants]]
    for title, name, factor, digits in _MEASURES:
        cells = [_cell(summary[name], factor, digits) for summary in variants.values()]
        if any(cells):
            rows.append([title, *cells])
    rows += corruption_rows(variants)
    for name in dict.fromkeys(key for gains in content['differences'].values() for key in gains):
        gains = [content['differences'].get(variant, {}).get(name) for variant in variants]
        cells = ['' if gain is None else _cell(gain, 1, 1, sign='+') for gain in gains]
        rows.append([f'gain in J&F, {name}', *cells])
    return rows


def corruption_rows(variants: dict[str, Any]) -> list[list[str]]:
    """Return the J&F of each corruption, and of its severities where there are several."""
    rows = []
    for name, first in next(iter(variants.values()))['per_corruption'].items():
        found = [summary['per_corruption'][name] for summary in variants.values()]
        rows.append([f'J&F, {name}', *(f'{row["J&F"]:.1f}' for row in found)])
        for severity in first['severities'] if len(first['severities']) > 1 else ():
            cells = [f'{row["severities"][severity]["J&F"]:.1f}' for row in found]
            rows.append([f'J&F, {name} {severity}', *cells])
    return rows


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the transposed table in Markdown: a line for each variant."""
    titles, *lines = zip(*rows, strict=True)
    rule = ['---', *['---:'] * (len(titles) - 1)]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in (titles, rule, *lines)) + '\n'


def _cell(measure: Measure, factor: float, digits: int, sign: str = '') -> str:
    if measure['value'] is None:
        return ''
    text = f'{factor * measure["value"]:{sign}.{digits}f}'
    if measure['interval'] is None:
        return text
    low, high = (f'{factor * bound:{sign}.{digits}f}' for bound in measure['interval'])
    return f'{text} ({low} to {high})'
