"""Status of a training, read from its log: while it runs, and after its end."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.train.training_log import LOG_FILE, read_log

_RECENT_LINES = 20  # of the log, for the speed


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """Status of a training.

    Attributes:
        step: Number of finished steps.
        steps: Number of steps of the whole training.
        steps_per_min: Speed over the newest lines of the last run, including scores and
            checkpoints; None before its first line.
        eta_s: Seconds to the last step at this speed; None without a speed.
        silent_s: Seconds since the last change of the log.
        run: Machine and precision of the last run, as in the log.
        means: The newest losses and IoU, as in the log.
        validation: The newest scores on the development split and the best one so far, as in the
            log, with their `step`; None before the first.
    """

    step: int
    steps: int
    steps_per_min: float | None
    eta_s: float | None
    silent_s: float
    run: dict[str, Any]
    means: dict[str, float]
    validation: dict[str, Any] | None


def read_status(out: Path) -> Status:
    """Read the status of the training in a folder.

    Raises:
        ConfigError: There is no training.
    """
    path = out / LOG_FILE
    if not path.is_file():
        got = f'no {LOG_FILE} in it' if out.is_dir() else 'no such folder'
        raise ConfigError(f'{out}: expected the folder of a training, got {got}; correct --out')
    lines = read_log(path)
    starts = [index for index, line in enumerate(lines) if 'run' in line]
    if not starts:
        raise ConfigError(
            f'{path}: expected a line "run" with machine and precision, got none; wait until the '
            'training has begun, or use --resume if its log is of an older version'
        )
    start = lines[starts[-1]]
    means = [line for line in lines if 'loss' in line]
    fresh = [line for line in lines[starts[-1] :] if 'loss' in line]
    scored = [
        line['validation'] | {'step': line['step']} for line in lines if 'validation' in line
    ]
    step, steps = lines[-1]['step'], start['run']['steps']
    speed = _steps_per_min(start['step'], fresh)
    return Status(
        step=step,
        steps=steps,
        steps_per_min=speed,
        eta_s=60.0 * (steps - step) / speed if speed else None,
        silent_s=max(0.0, time.time() - path.stat().st_mtime),
        run=start['run'],
        means={k: v for k, v in means[-1].items() if k not in {'step', 'seconds'}}
        if means
        else {},
        validation=scored[-1] if scored else None,
    )


def describe(status: Status) -> str:
    """Return a status as lines of text."""
    run = status.run
    parts = [f'step {status.step:,} of {status.steps:,} ({status.step / status.steps:.1%})']
    if status.steps_per_min:
        parts.append(f'{status.steps_per_min:.1f} steps/min')
    if status.step == status.steps:
        parts.append('finished')
    elif status.eta_s is not None:
        parts.append(f'ETA {_duration(status.eta_s)}')
    lines = [
        ', '.join(parts),
        f'{run["precision"]} on {run["machine"]}, {run["processes"]} x {run["threads"]} threads',
        f'last line of the log {_duration(status.silent_s)} ago',
    ]
    if status.means:
        lines.append('  '.join(f'{name} {value:.3f}' for name, value in status.means.items()))
    if status.validation:
        forms, best = status.validation['prompts'], status.validation['best']
        scores = ', '.join(f'{name} {score["jf"]:.1f}' for name, score in forms.items())
        lines.append(
            f'development split at step {status.validation["step"]:,}: '
            f'J&F {status.validation["jf"]:.1f} ({scores}); '
            f'best {best["jf"]:.1f} at step {best["step"]:,}'
        )
    return '\n'.join(lines)


def _steps_per_min(first_step: int, lines: list[dict[str, Any]]) -> float | None:
    """Return the speed over the newest lines of a run that began at a step."""
    points = [(first_step, 0.0), *((line['step'], line['seconds']) for line in lines)]
    (old_step, old_s), (new_step, new_s) = points[-_RECENT_LINES - 1 :][0], points[-1]
    return 60.0 * (new_step - old_step) / (new_s - old_s) if new_s > old_s else None


def _duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 60:
        return f'{seconds:.0f} s'
    if seconds < 3600:
        return f'{minutes} min'
    if seconds < 86400:
        return f'{minutes // 60} h {minutes % 60} min'
    return f'{hours // 24} d {hours % 24} h'
