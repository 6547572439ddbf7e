"""A plot of the gates of an adapter over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from robust_vos_ros.eval.gates import GateRecord

_MOST_GATES = 256  # that are drawn


def plot_gates(records: Sequence[GateRecord], path: Path, title: str) -> None:
    """Plot gates over time: an image per object, gates that change most on top; severity above.

    Args:
        records: Of one sequence; corruptions are drawn one after the other.
        path: PNG file.
        title: Of the plot.
    """
    names = list(records[0].objects)
    ends = np.cumsum([len(record.severity) for record in records])
    with mpl.rc_context({'font.size': 9.0}):
        figure = Figure((8.0, 1.4 + 1.7 * len(names)), layout='constrained')
        heights = [0.6, *[1.5] * len(names)]
        axes = figure.subplots(len(names) + 1, 1, sharex=True, height_ratios=heights)
        axes[0].plot(np.concatenate([record.severity for record in records]), color='C3')
        axes[0].set(ylabel='severity', title=title, ylim=(-0.2, 6.5))
        for record, end in zip(records, ends, strict=True):
            start = end - len(record.severity)
            axes[0].text(start + 1, 5.3, record.corruption, fontsize=6)
            for axis in axes:
                axis.axvline(start - 0.5, color='white' if axis is not axes[0] else 'grey', lw=0.8)
        for axis, name in zip(axes[1:], names, strict=True):
            table = np.concatenate([record.objects[name] for record in records])
            moving = np.argsort(-table.std(axis=0), kind='stable')[:_MOST_GATES]
            axis.imshow(table[:, moving].T, aspect='auto', cmap='viridis', vmin=0, vmax=1)
            axis.set_ylabel(f'object {name}\n{100.0 * table.mean():.0f}% open')
        axes[-1].set_xlabel('frame')
        figure.savefig(path, dpi=110, metadata={'Software': None})
