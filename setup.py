"""Packaging of the part that needs no ROS (`pip install .`); colcon builds from CMakeLists.txt.

Metadata are in pyproject.toml, dependencies in requirements/python.txt. Here is what no table can
say: the version comes from package.xml, and the files of config/ and msg/ keep their folders.
"""

from pathlib import Path
from xml.etree import ElementTree as ET

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """Return the version in package.xml, the only place that states it."""
    return ET.parse(ROOT / 'package.xml').getroot().findtext('version')


def list_data_files(folder: str, pattern: str) -> list[tuple[str, list[str]]]:
    """Return (target folder, files) for every folder below `folder`, for share/robust_vos."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / folder).rglob(pattern))
    targets = sorted({path.parent for path in files})
    return [
        (f'share/robust_vos/{target}', [str(path) for path in files if path.parent == target])
        for target in targets
    ]


setup(
    version=read_version(),
    # Only robust_vos_ros: the name robust_vos belongs to the generated messages.
    packages=find_packages(include=['robust_vos_ros', 'robust_vos_ros.*']),
    package_data={
        'robust_vos_ros': [
            'weights/*.safetensors',
            'weights/*.json',
            'eval/*.html',
            'console/static/*',
        ]
    },
    data_files=list_data_files('config', '*.yaml') + list_data_files('msg', '*.msg'),
)
