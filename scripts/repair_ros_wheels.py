"""Repair the CMake files of the ROS wheels in a virtual environment; it may run more than once.

The wheels name include folders of the machine that built them (/opt/python/cp311-cp311/...), and
CMake refuses targets with missing include folders.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np


def main(venv: Path) -> None:
    """Replace these include folders by those of the running Python and NumPy."""
    folders = {
        re.compile(
            r'/opt/python/[^/;"]+/lib/[^;"]*/numpy/(?:_core|core)/include'
        ): np.get_include(),
        re.compile(r'/opt/python/[^/;"]+/include/python3\.\d+'): sysconfig.get_path('include'),
    }
    repaired = 0
    for path in (venv / 'share').rglob('*.cmake'):
        before = after = path.read_text(encoding='utf-8')
        for pattern, folder in folders.items():
            after = pattern.sub(folder.replace('\\', r'\\'), after)
        if '/opt/python/' in after:
            raise SystemExit(f'{path} still names a folder under /opt/python; extend this script')
        if after != before:
            path.write_text(after, encoding='utf-8')
            repaired += 1
    print(f'{repaired} files repaired')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
