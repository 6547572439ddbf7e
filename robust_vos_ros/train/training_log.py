"""The log of a training: JSON lines, and a plot of the curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from robust_vos_ros.core.errors import ConfigError

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ConfigError("training draws curves: pip install 'robust_vos_ros[train]'") from error

LOG_FILE = 'log.jsonl'
PLOT_FILE = 'log.png'
_SMOOTH_LINES = 15


class TrainingLog:
    """Means of the statistics of steps as JSON lines, and lines of other kinds between them.

    Args:
        path: File to append to.
        first_step: Lines of later steps, left by an interrupted run, are removed.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        self._sums: dict[str, list[float]] = {}
        kept = [line for line in read_log(path) if line['step'] <= first_step]
        path.write_text(''.join(json.dumps(line) + '\n' for line in kept), encoding='utf-8')

    def add(self, stats: dict[str, float]) -> None:
        """Add the statistics of one step."""
        for name, value in stats.items():
            self._sums.setdefault(name, []).append(value)

    def write(self, step: int, **more: float) -> dict[str, Any]:
        """Write the means since the last line, and return the line."""
        means = {name: round(float(np.mean(v)), 5) for name, v in sorted(self._sums.items())}
        line = {'step': step, **{k: round(v, 6) for k, v in more.items()}, **means}
        self._append(line)
        self._sums = {}
        return line

    def note(self, step: int, kind: str, content: dict[str, Any]) -> None:
        """Write a line of another kind: `run` (machine and precision) or `validation` (scores)."""
        self._append({'step': step, kind: content})

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; an incomplete last line, left by a crash, is ignored."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding='utf-8').splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def plot_log(path: Path, png: Path) -> None:
    """Plot loss and J (or distances of features) over the steps, and scores if there are any."""
    log = read_log(path)
    lines, scored = ([line for line in log if key in line] for key in ('loss', 'validation'))
    if not lines:
        return
    steps = np.array([line['step'] for line in lines])
    num_axes = 3 if scored else 2
    # Not pyplot, which may need a display.
    figure = Figure(figsize=(5.5 * num_axes, 4), layout='constrained')
    axes = figure.subplots(1, num_axes)
    known = {name for line in lines for name in line}
    ious = sorted(name for name in known if name.startswith('J'))
    distances = sorted(known & {'coarse', 'middle', 'fine'})
    for axis, names, title in (
        (axes[0], ['loss'], 'loss'),
        (axes[1], ious or distances, 'IoU' if ious else 'distance of features'),
    ):
        for name in names:
            values = np.array([line.get(name, np.nan) for line in lines], float)
            (curve,) = axis.plot(steps, _smooth(values), label=name)
            axis.plot(steps, values, color=curve.get_color(), alpha=0.2, linewidth=0.7)
        axis.set(xlabel='step', title=title)
    if scored:
        _plot_scores(axes[2], scored)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(loc='best', fontsize='small')
    figure.savefig(png, dpi=100)


def _plot_scores(axis: Axes, scored: list[dict[str, Any]]) -> None:
    """Plot J&F of the moving average for each form of the prompts, and mark the best step."""
    steps = [line['step'] for line in scored]
    for form in scored[-1]['validation']['prompts']:
        scores = [line['validation']['prompts'].get(form, {}).get('jf') for line in scored]
        axis.plot(steps, np.array(scores, float), marker='.', label=form)
    best = scored[-1]['validation']['best']
    axis.axvline(best['step'], color='grey', linestyle=':', label=f'best {best["jf"]:.1f}')
    axis.set(xlabel='step', title='development split, J&F in percent')


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the running mean over the last lines, NaN without values."""
    out = np.full(len(values), np.nan)
    for index in range(len(values)):
        window = values[max(0, index - _SMOOTH_LINES + 1) : index + 1]
        if np.isfinite(window).any():
            out[index] = np.nanmean(window)
    return out
