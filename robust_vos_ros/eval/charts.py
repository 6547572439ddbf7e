"""The charts of a report, as SVG text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

# The same numbers give the same bytes.
_STYLE = {'svg.hashsalt': 'robust_vos', 'font.size': 9.0, 'axes.grid': True, 'grid.alpha': 0.3}
_SHADES = ('0.45', 'C0', 'C1', 'C2', 'C3', 'C4', 'C5', 'C6')


def corruption_bars(variants: dict[str, dict[str, Any]]) -> str:
    """Return J&F of clean images and of each corruption, a bar per variant."""
    names = list(next(iter(variants.values()))['per_corruption'])
    with mpl.rc_context(_STYLE):
        figure = Figure((max(5.0, 1.6 + 0.55 * len(names) * max(1, len(variants) / 2)), 3.2))
        axes = figure.subplots()
        width = 0.8 / len(variants)
        for row, (variant, result) in enumerate(variants.items()):
            clean = result['J&F']['value']
            rows = [result['per_corruption'][name]['J&F'] for name in names]
            heights = [np.nan if clean is None else clean, *rows]
            x = np.arange(len(heights)) + (row - (len(variants) - 1) / 2) * width
            axes.bar(x, heights, width, label=variant, color=_SHADES[(row + 1) % len(_SHADES)])
        axes.set_xticks(range(len(names) + 1), ['clean', *names], rotation=35, ha='right')
        axes.set_ylabel('J&F in percent')
        axes.set_ylim(0, 100)
        axes.legend()
        return _svg(figure)


def time_curves(variants: dict[str, dict[str, Any]]) -> str:
    """Return J&F over the time of the clips: solid lines clean, dashed lines corrupted."""
    with mpl.rc_context(_STYLE):
        figure = Figure((5.0, 3.2))
        axes = figure.subplots()
        for row, (variant, result) in enumerate(variants.items()):
            for (kind, curve), line in zip(result['curves'].items(), ('-', '--'), strict=False):
                values = [np.nan if v is None else v for v in curve]
                if not np.isnan(values).all():
                    x = (np.arange(len(values)) + 0.5) / len(values)
                    color = _SHADES[(row + 1) % len(_SHADES)]
                    axes.plot(x, values, line, color=color, label=f'{variant} {kind}')
        axes.set_xlabel('time of the clip')
        axes.set_ylabel('J&F in percent')
        axes.set_xlim(0, 1)
        axes.legend()
        return _svg(figure)


def reliability_diagram(variants: dict[str, dict[str, Any]]) -> str:
    """Return the reliability diagram: filled circles clean, hollow circles corrupted."""
    with mpl.rc_context(_STYLE):
        figure = Figure((5.0, 3.6))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color='0.6', linewidth=1)
        for row, (variant, result) in enumerate(variants.items()):
            for kind in ('clean', 'corrupted'):
                bins = result['reliability'][kind]
                if bins:
                    color = _SHADES[(row + 1) % len(_SHADES)]
                    total = sum(b['count'] for b in bins)
                    axes.scatter(
                        [b['confidence'] for b in bins],
                        [b['accuracy'] for b in bins],
                        [8 + 250 * b['count'] / total for b in bins],
                        color=color if kind == 'clean' else 'none',
                        edgecolor=color,
                        label=f'{variant} {kind}',
                    )
        axes.set_xlabel('published confidence')
        axes.set_ylabel('share of masks with IoU > 0.5')
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)
        axes.legend(markerscale=0.5)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return the <svg> element of a figure."""
    figure.set_layout_engine('constrained')
    text = io.StringIO()
    figure.savefig(text, format='svg', metadata={'Date': None, 'Creator': None})
    return text.getvalue()[text.getvalue().index('<svg') :]
