"""The results of a benchmark as one self-contained HTML page, or as separate files."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.eval import charts
from robust_vos_ros.eval.columns import table_rows, to_markdown
from robust_vos_ros.eval.records import SequenceRecord
from robust_vos_ros.eval.results import Results, keep_worst_strips, to_json, worst_score


def make_report(results: Results) -> str:
    """Return the HTML page.

    Args:
        results: As `results.read` returns them.

    Raises:
        ConfigError: There are no records.
    """
    if not results.records:
        raise ConfigError('expected results with records, got none')
    content = to_json(results)
    variants: dict[str, Any] = content['variants']
    template = importlib.resources.files('robust_vos_ros.eval') / 'report.html'
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template.read_text(encoding='utf-8')).render(
        title=f'robust-vos: {", ".join(variants)} on {results.about.title}',
        about=results.about,
        num_sequences=len({record.sequence for record in results.records}),
        num_frames=sum(record.num_frames for record in results.records),
        variants=list(variants),
        rows=table_rows(content)[1:],
        sequence_rows=_sequence_rows(variants),
        charts={name: markupsafe.Markup(svg) for name, svg in _charts(variants).items()},  # noqa: S704  our own SVG
        strips=[
            {'jpeg': record.strip, 'caption': _caption(record)}
            for record in _with_strips(results.records)
        ],
    )


def write_parts(folder: Path, results: Results) -> None:
    """Write the parts of the page as files: table.md, SVG charts and JPEG film strips.

    Args:
        folder: Created if it does not exist.
        results: As in `make_report`; strips are named VARIANT_SEQUENCE_CORRUPTION_SEVERITY.jpg.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = to_json(results)
    (folder / 'table.md').write_text(to_markdown(table_rows(content)), encoding='utf-8')
    for name, svg in _charts(content['variants']).items():
        (folder / f'{name}.svg').write_text(svg, encoding='utf-8')
    for record in _with_strips(results.records):
        where = f'{record.condition.corruption}_{record.condition.severity:g}'
        path = folder / f'{record.variant}_{record.sequence}_{where}.jpg'
        path.write_bytes(base64.b64decode(record.strip))


def _charts(variants: dict[str, Any]) -> dict[str, str]:
    """Return the charts as SVG by name; bars only if there are corruptions."""
    drawn = {'corruptions': charts.corruption_bars(variants)} if _corrupted(variants) else {}
    drawn['curves'] = charts.time_curves(variants)
    return drawn | {'reliability': charts.reliability_diagram(variants)}


def _corrupted(variants: dict[str, Any]) -> bool:
    return any(summary['per_corruption'] for summary in variants.values())


def _sequence_rows(variants: dict[str, Any]) -> list[list[str]]:
    names = next(iter(variants.values()))['per_sequence']
    return [
        [name, *(f'{summary["per_sequence"][name]["J&F"]:.1f}' for summary in variants.values())]
        for name in names
    ]


def _with_strips(records: Sequence[SequenceRecord]) -> list[SequenceRecord]:
    """Return the records whose strips are shown, the worst first."""
    return sorted((r for r in keep_worst_strips(records) if r.strip), key=worst_score)


def _caption(record: SequenceRecord) -> str:
    condition = record.condition
    where = f'{condition.corruption} {condition.severity:g}' if condition.is_corrupted else ''
    parts = [record.variant, record.sequence, *([where] if where else [])]
    return f'{", ".join(parts)}: least J {100 * worst_score(record)[0]:.0f}'
