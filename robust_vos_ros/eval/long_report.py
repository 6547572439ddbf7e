"""The suite of long clips as a JSON file, a table, rows for a document, and film strips."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from robust_vos_ros.core.network.optimize import cpu_name
from robust_vos_ros.eval.long_records import LongRecord
from robust_vos_ros.eval.long_summary import compare_long, summarize_long
from robust_vos_ros.eval.long_tasks import LongSuite
from robust_vos_ros.eval.tasks import Variant, adapter_hash, code_hash, weights_hash

# Title, measure, factor, digits.
_COLUMNS = (
    ('J&F', 'J&F', 1, 1),
    ('in view', 'J&F in view', 1, 1),
    ('first fifth', 'J&F fifth 1', 1, 1),
    ('last fifth', 'J&F fifth 5', 1, 1),
    ('kept %', 'kept', 100, 0),
    ('false %', 'false', 100, 0),
    ('in time %', 'in time', 100, 0),
    ('masks on absent %', 'absent masked', 100, 1),
    ('confidently wrong %', 'confidently wrong', 100, 2),
    ('ECE clean', 'ECE clean', 1, 3),
    ('ECE weather', 'ECE corrupted', 1, 3),
    ('ECE of masks', 'ECE masked', 1, 3),
    ('ms', 'ms per frame', 1, 1),
)


def to_json(
    suite: LongSuite, variants: Sequence[Variant], records: Sequence[LongRecord]
) -> dict[str, Any]:
    """Return the content of the file: numbers of each variant, then the records.

    Args:
        suite: What was run.
        variants: In order; the others are compared with the first.
        records: Of each variant on each clip.
    """
    groups = [[record for record in records if record.variant == v.name] for v in variants]
    content = suite.model_dump(mode='json')
    if suite.footage is not None:
        content['footage']['root'] = suite.footage.root.name
    return {
        'variants': {
            variant.name: summarize_long(group)
            for variant, group in zip(variants, groups, strict=True)
        },
        'differences': {
            variant.name: compare_long(groups[0], group)
            for variant, group in zip(variants[1:], groups[1:], strict=True)
        },
        'about': {
            'suite': content,
            'code': code_hash(),
            'torch': torch.__version__,
            'machine': f'{cpu_name()}, one thread per process',
            'variants': {
                variant.name: {
                    'model': variant.model.model_dump(),
                    'weights_sha256': weights_hash(variant.model),
                    'adapter_sha256': adapter_hash(variant.model),
                    'tracking': variant.tracking.model_dump(),
                }
                for variant in variants
            },
        },
        'records': [record.model_dump(exclude={'film'}) for record in records],
    }


def table_rows(content: dict[str, Any]) -> list[list[str]]:
    """Return the titles, then a row for each variant with intervals and the gain over the first.

    Args:
        content: As `to_json` returns it.
    """
    rows = [['', *(title for title, _, _, _ in _COLUMNS), 'gain']]
    for name, measures in content['variants'].items():
        cells = [_cell(measures[key], factor, digits) for _, key, factor, digits in _COLUMNS]
        gain = content['differences'].get(name)
        rows.append([name, *cells, _cell(gain['J&F'], 1, 1, sign='+') if gain else ''])
    return rows


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a document; the first row has the titles."""
    rule = ['---', *['---:'] * (len(rows[0]) - 1)]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in (rows[0], rule, *rows[1:])) + '\n'


def write_strips(folder: Path, records: Sequence[LongRecord]) -> int:
    """Write the film strip of each record that has one as a PNG file; return how many.

    Args:
        folder: Made if it is not there.
        records: Files are called VARIANT_CLIP.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    films = [record for record in records if record.film]
    for record in films:
        code = np.frombuffer(base64.b64decode(record.film), np.uint8)
        picture = cv2.imdecode(code, cv2.IMREAD_COLOR)
        cv2.imwrite(str(folder / f'{record.variant}_{record.sequence}.png'), picture)
    return len(films)


def _cell(measure: dict[str, Any], factor: float, digits: int, sign: str = '') -> str:
    if measure['value'] is None:
        return ''
    text = f'{factor * measure["value"]:{sign}.{digits}f}'
    if measure['interval'] is None:
        return text
    low, high = (f'{factor * bound:{sign}.{digits}f}' for bound in measure['interval'])
    return f'{text} ({low} to {high})'
