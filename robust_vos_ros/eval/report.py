"""One self-contained HTML page from the JSON file of a benchmark."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
import markupsafe

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.eval import charts
from robust_vos_ros.eval.records import SequenceRecord
from robust_vos_ros.eval.results import Results, keep_worst_strips, to_json, worst_score

_SUMMARY = (
    ('J&F clean', ('J&F',), 1),
    ('J clean', ('J',), 1),
    ('F clean', ('F',), 1),
    ('Q_p', ('Q_p',), 1),
    ('R_p', ('R_p',), 1),
    ('mPC', ('mPC',), 1),
    ('rPC', ('rPC',), 1),
    ('ECE, clean', ('clean', 'ece'), 3),
    ('ECE, corrupted', ('corrupted', 'ece'), 3),
    ('Brier score, all', ('brier',), 3),
    ('masks on absent objects, clean', ('clean', 'false_positives'), 3),
    ('masks on absent objects, corrupted', ('corrupted', 'false_positives'), 3),
    ('jitter, clean', ('clean', 'jitter'), 3),
    ('jitter, corrupted', ('corrupted', 'jitter'), 3),
    ('jitter of the true masks', ('clean', 'true_jitter'), 3),
    ('decay of J, first to last quarter', ('j_decay',), 3),
    ('frames per second', ('fps',), 1),
)


def make_report(results: Results) -> str:
    """Return the page.

    Args:
        results: As `results.read` returns them.

    Raises:
        ConfigError: There are no results to show.
    """
    if not results.records:
        raise ConfigError('expected results with records, got none')
    content = to_json(results)
    variants: dict[str, Any] = content['variants']
    template = importlib.resources.files('robust_vos_ros.eval') / 'report.html'
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template.read_text(encoding='utf-8')).render(
        title=f'robust-vos: {", ".join(variants)} on {results.about.dataset}',
        about=results.about,
        num_sequences=len({record.sequence for record in results.records}),
        num_frames=sum(record.num_frames for record in results.records),
        variants=list(variants),
        first=next(iter(variants)),
        summary=[
            {'title': title, 'numbers': [_text(_dig(v, path), digits) for v in variants.values()]}
            for title, path, digits in _SUMMARY
        ],
        differences=content['differences'],
        difference_rows=_difference_rows(content['differences']),
        corruption_rows=_corruption_rows(variants),
        sequence_rows=_sequence_rows(variants),
        bars=markupsafe.Markup(charts.corruption_bars(variants)),  # noqa: S704  our own SVG
        curves=markupsafe.Markup(charts.time_curves(variants)),  # noqa: S704
        diagram=markupsafe.Markup(charts.reliability_diagram(variants)),  # noqa: S704
        strips=_strips(results.records),
    )


def _difference_rows(differences: dict[str, Any]) -> list[list[str]]:
    names = dict.fromkeys(name for row in differences.values() for name in row)
    rows = []
    for name in names:
        row = [name]
        for table in differences.values():
            item = table.get(name)
            if item is None:
                row += ['', '']
            else:
                low, high = item['interval']
                row += [f'{item["J&F"]:+.2f}', f'{low:+.2f} to {high:+.2f}']
        rows.append(row)
    return rows


def _corruption_rows(variants: dict[str, Any]) -> list[list[str]]:
    """Return clean, each corruption, and its severities where there are several."""
    rows = [['clean', *(_text(result['J&F']) for result in variants.values())]]
    for name, item in next(iter(variants.values()))['per_corruption'].items():
        rows.append([name, *(_text(r['per_corruption'][name]['J&F']) for r in variants.values())])
        severities = item['severities']
        for severity in severities if len(severities) > 1 else ():
            cells = [
                _text(r['per_corruption'][name]['severities'][severity]['J&F'])
                for r in variants.values()
            ]
            rows.append([f'\u2003severity {severity}', *cells])
    return rows


def _sequence_rows(variants: dict[str, Any]) -> list[list[str]]:
    names = next(iter(variants.values()))['per_sequence']
    return [
        [name, *(_text(result['per_sequence'][name]['J&F']) for result in variants.values())]
        for name in names
    ]


def _strips(records: Sequence[SequenceRecord]) -> list[dict[str, str]]:
    kept = [record for record in keep_worst_strips(records) if record.strip]
    return [
        {
            'jpeg': record.strip,
            'caption': f'{record.variant}, {record.sequence}, {record.condition.corruption} '
            f'{record.condition.severity:g}: J {100 * worst_score(record):.0f}',
        }
        for record in sorted(kept, key=worst_score)
    ]


def _dig(table: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = table
    for key in path:
        value = value.get(key)
    return value


def _text(value: float | None, digits: int = 1) -> str:
    return '' if value is None else f'{value:.{digits}f}'
