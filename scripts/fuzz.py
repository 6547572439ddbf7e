"""Search for inputs that break something, guided by coverage: `make fuzz MINUTES=10 TARGET=bag`.

Needs atheris (of the extra `dev`). Each target runs in a process of its own and ends at its first
find, which stays in out/fuzz/TARGET. A find is mended, and goes to test/corpus/TARGET.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CORPUS, OUT = ROOT / 'test' / 'corpus', ROOT / 'out' / 'fuzz'
TIMEOUT_S, MEMORY_MB, MAX_BYTES = 30, 4096, 1 << 16
# Their code is instrumented, so that the search sees which lines an input reaches.
# Not all of rosbags: its parser of message definitions takes seconds when it is instrumented.
INSTRUMENTED = ['robust_vos_ros', 'fuzz_targets']
FOREIGN = {
    'bag': ['rosbags.rosbag1', 'rosbags.rosbag2', 'rosbags.highlevel'],
    'repair': ['mcap'],
    'prompts_yaml': ['yaml'],
    'model_yaml': ['yaml'],
}
_STATUS = re.compile(r'#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)')
_SUMMARY = re.compile(r'stat::number_of_executed_units:\s*(\d+)')


def search(name: str) -> None:
    """Fuzz one target in this process; the arguments of libFuzzer are in sys.argv."""
    import atheris

    with atheris.instrument_imports(include=[*INSTRUMENTED, *FOREIGN.get(name, [])]):
        import fuzz_targets
    target = fuzz_targets.TARGETS[name]
    target(b'')  # loads what it needs before the clock of libFuzzer runs
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


def run(name: str, minutes: float) -> dict[str, Any]:
    """Fuzz one target in a process of its own; returns its statistics."""
    out = OUT / name
    (out / 'corpus').mkdir(parents=True, exist_ok=True)
    seeds = CORPUS / name
    seeds.mkdir(parents=True, exist_ok=True)
    options = {
        'max_total_time': round(minutes * 60), 'timeout': TIMEOUT_S, 'rss_limit_mb': MEMORY_MB,
        'max_len': MAX_BYTES, 'print_final_stats': 1, 'artifact_prefix': f'{out}/',
        'detect_leaks': 0,
    }  # fmt: skip
    arguments = [f'-{key}={value}' for key, value in options.items()]
    start_s, log = time.monotonic(), out / 'log.txt'
    with log.open('w') as stream:
        code = subprocess.run(
            [sys.executable, __file__, '--search', name, *arguments, out / 'corpus', seeds],
            stdout=stream, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    text = log.read_text(errors='replace')
    lines = _STATUS.findall(text)
    executed = _SUMMARY.search(text)
    return {
        'target': name,
        'minutes': round((time.monotonic() - start_s) / 60, 1),
        'executions': int(executed[1]) if executed else int(lines[-1][0]) if lines else 0,
        'edges': int(lines[-1][1]) if lines else 0,
        'inputs': len(list((out / 'corpus').iterdir())),
        'found': '' if code == 0 else f'exit code {code}, see {log.relative_to(ROOT)}',
    }


def main() -> int:
    """Fuzz targets one after the other; print their statistics as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('targets', nargs='*', help='names of targets; none = all')
    parser.add_argument('--minutes', type=float, default=1.0, help='for each target')
    arguments = parser.parse_args()
    if importlib.util.find_spec('atheris') is None:
        print('atheris is not installed: it has wheels for Linux and Python 3.11 to 3.13')
        return 0
    import fuzz_targets

    unknown = set(arguments.targets) - set(fuzz_targets.TARGETS)
    if unknown:
        parser.error(f'unknown {unknown}; expected of {", ".join(fuzz_targets.TARGETS)}')
    found = False
    for name in arguments.targets or fuzz_targets.TARGETS:
        result = run(name, arguments.minutes)
        print(json.dumps(result), flush=True)
        found = found or bool(result['found'])
    return int(found)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--search']:
        target_name = sys.argv.pop(2)
        del sys.argv[1]
        search(target_name)
    else:
        sys.exit(main())
