"""Run the node for hours under load, and watch it: `make soak HOURS=1`.

A camera at 30 Hz with eight objects that come and go, prompts, parameter changes, a recorder
whose bag changes every few minutes and is read back, the console with a client. Every message is
checked. Memory, open files, threads and latencies go to out/soak/soak.json and soak.png. The exit
code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from soak_load import CONSOLE_PORT, STOP_S, Recorder, Robot, Tally, watch_console

from robust_vos_ros.demo.processes import ChildProcess, find_free_domain

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_S = 5.0


def sample(robot: Robot, tally: Tally, processes: dict[str, psutil.Process]) -> None:
    """Note memory, files, threads and latencies since the last time."""
    latencies, robot.watch.latencies_ms = robot.watch.latencies_ms, []
    values: dict[str, Any] = {'t_s': round(time.monotonic() - robot.start_s, 1)}
    for name, process in processes.items():
        with contextlib.suppress(psutil.Error):
            values[f'{name} rss_mib'] = round(process.memory_info().rss / 2**20, 1)
            values[f'{name} files'] = process.num_fds()
            values[f'{name} threads'] = process.num_threads()
    if latencies:
        values['frames'] = len(latencies)
        values['p50_ms'], values['p95_ms'] = np.percentile(latencies, (50, 95)).round(1).tolist()
    keys = ('received', 'processed', 'dropped', 'waiting', 'invalid', 'failed')
    for key in keys:
        values[key] = int(robot.diagnostics.get(f'frames {key}', '0'))
    values['load'] = round(os.getloadavg()[0], 1)
    tally.samples.append(values)
    rest = values['received'] - sum(values[key] for key in keys[1:])
    # One frame is in work; the counters are read one after the other.
    if not -2 <= rest <= 2:
        tally.problems.append(f'{values["t_s"]} s: {rest} frames received are not accounted for')
    if values['failed'] or values['invalid']:
        tally.problems.append(f'{values["t_s"]} s: {robot.diagnostics["message"]}')


def summarize(robot: Robot, tally: Tally, hours: float) -> dict[str, Any]:
    """Return the result; RSS is compared between the first and the last quarter, warmed up."""
    found = robot.watch.invariants
    tally.problems += found.problems
    samples = tally.samples[len(tally.samples) // 10 :]
    quarter = max(1, len(samples) // 4)
    growth = {}
    for key in ('rss_mib', 'files', 'threads'):
        for name in ('node', 'console'):
            series = [s[f'{name} {key}'] for s in samples if f'{name} {key}' in s]
            if series:
                growth[f'{name} {key}'] = [
                    float(np.median(series[:quarter])), float(np.median(series[-quarter:]))
                ]  # fmt: skip
    last = tally.samples[-1]
    return {
        'machine': f'{platform.machine()}, {os.cpu_count()} cores',
        'hours': round(hours, 3), 'sent': tally.sent, 'received': last['received'],
        'processed': last['processed'], 'dropped': last['dropped'],
        'checked objects': found.num_objects, 'checked masks': found.num_masks,
        'violations': found.num_problems, 'answers': tally.answers,
        'unanswered': tally.unanswered, 'console frames': tally.console_frames,
        'console connections ended': tally.console_ended, 'bags': tally.bags,
        'first and last quarter': growth, 'problems': tally.problems,
    }  # fmt: skip


def plot(samples: list[dict[str, Any]], path: Path) -> None:
    """Draw memory, files and threads, and latencies over time."""
    import matplotlib as mpl

    mpl.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 1, figsize=(9, 9), sharex=True, layout='constrained')
    panels = (
        ('RSS (MiB)', ['node rss_mib', 'console rss_mib', 'recorder rss_mib']),
        ('open files', ['node files', 'console files']),
        ('threads', ['node threads', 'console threads']),
        ('latency (ms)', ['p50_ms', 'p95_ms']),
    )
    for axis, (title, keys) in zip(axes, panels, strict=True):
        for key in keys:
            points = [(s['t_s'] / 60, s[key]) for s in samples if key in s]
            if points:
                axis.plot(*zip(*points, strict=True), label=key.split(' ')[0].removesuffix('_ms'))
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc='best', ncols=3)
    axes[-1].set_xlabel('minutes')
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run for some hours; print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hours', type=float, default=0.1)
    parser.add_argument('--rotate-minutes', type=float, default=3.0)
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'soak')
    arguments = parser.parse_args()
    out = arguments.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ['ROS_DOMAIN_ID'] = str(find_free_domain(random.Random()))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    tally, stop = Tally(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    parameters = ['-p', 'model.num_threads:=1', '-p', f'state_file:={out / "tracks"}']
    package, page_port = 'robust_vos_ros', ['-p', f'port:={CONSOLE_PORT}']
    with (
        ChildProcess(
            'node', f'{package}.node_program', ['--ros-args', *parameters], out / 'node.log'
        ) as first,
        ChildProcess(
            'console',
            f'{package}.console.program',
            ['--ros-args', *page_port],
            out / 'console.log',
        ) as second,
    ):
        robot, recorder = Robot(tally), Recorder(out, tally, arguments.rotate_minutes * 60)
        page = threading.Thread(target=lambda: asyncio.run(watch_console(tally, stop)))
        page.start()
        processes = {'node': psutil.Process(first.pid), 'console': psutil.Process(second.pid)}
        end_s = time.monotonic() + arguments.hours * 3600
        try:
            while time.monotonic() < end_s and not stop.wait(SAMPLE_S):
                first.check()
                second.check()
                recorder.step()
                processes['recorder'] = psutil.Process(recorder.process.pid)
                sample(robot, tally, processes)
                (out / 'samples.json').write_text(json.dumps(tally.samples))
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
            recorder.step(last=True)
            hours = (time.monotonic() - robot.start_s) / 3600
            robot.close()
            page.join(STOP_S)
    result = summarize(robot, tally, hours)
    (out / 'soak.json').write_text(json.dumps(result | {'samples': tally.samples}, indent=1))
    plot(tally.samples, out / 'soak.png')
    print(json.dumps(result, indent=1))
    return int(bool(tally.problems or tally.unanswered))


if __name__ == '__main__':
    sys.exit(main())
