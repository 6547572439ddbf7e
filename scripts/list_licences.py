"""Print the licence of every installed Python package; exit code 1 if one has to be looked at.

Run by `make audit`. Packages that state nothing, or a licence of another kind than those below,
have to be looked at by a person.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

# Their terms allow use and distribution with this package, which is Apache-2.0.
PERMISSIVE = re.compile(
    r'apache|bsd|\bmit\b|isc|psf|python software|zlib|unlicense|hpnd|mpl|mozilla|cc0|0bsd|lgpl|'
    r'public domain|historical permission',
    re.IGNORECASE,
)
# What was looked at, and why it is in order.
KNOWN = {
    'apsw': 'any OSI-approved licence, by its metadata',
    'atheris': 'Apache-2.0, by its repository; a tool of the tests, not shipped',
    'docutils': 'public domain, parts BSD and GPL; a tool of the build, not shipped',
    'empy': 'BSD since 4.0; generates message code',
    'ros-wheels-bootstrapper': 'Apache-2.0, not stated in its metadata',
    'ros-fastcdr': 'Apache-2.0, in its sources',
    'ros-fastrtps': 'Apache-2.0, in its sources',
    'setuptools': 'MIT',
}


def licence_of(package: importlib.metadata.Distribution) -> str:
    """Return what the metadata of a package says, on one line."""
    meta = package.metadata
    classifiers = [
        value.rpartition(' :: ')[2]
        for value in meta.get_all('Classifier', [])
        if value.startswith('License ::')
    ]
    said = meta.get('License-Expression') or '; '.join(classifiers) or meta.get('License') or ''
    return ' '.join(said.split())[:70] or licence_of_ros(meta['Name'])


def licence_of_ros(name: str) -> str:
    """Return the licence in the package.xml of a ROS package, empty if there is none."""
    folder = name.removeprefix('ros-').replace('-', '_')
    for prefix in (
        Path(sys.prefix),
        *map(Path, os.environ.get('AMENT_PREFIX_PATH', '').split(':')),
    ):
        file = prefix / 'share' / folder / 'package.xml'
        if file.is_file():
            root = ET.parse(file).getroot()  # noqa: S314  of an installed package
            return '; '.join(item.text or '' for item in root.iter('license'))
    return ''


def main() -> int:
    """Print the table."""
    open_ends = []
    packages = {
        package.metadata['Name']: package for package in importlib.metadata.distributions()
    }
    for name in sorted(packages, key=str.lower):
        licence = KNOWN.get(name) or licence_of(packages[name])
        print(f'{name}\t{packages[name].version}\t{licence or "not stated"}')
        if name not in KNOWN and not PERMISSIVE.search(licence):
            open_ends.append(name)
    if open_ends:
        print(f'to be looked at: {", ".join(open_ends)}', file=sys.stderr)
    return int(bool(open_ends))


if __name__ == '__main__':
    sys.exit(main())
