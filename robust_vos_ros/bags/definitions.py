"""The message definitions that bags are written and read with where there is no ROS."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robust_vos_ros.core.errors import ConfigError

PACKAGE = 'robust_vos'


def message_typestore() -> Typestore:
    """Return the message types of ROS 2 and of robust_vos, for bags written or read without ROS.

    Raises:
        ConfigError: The installation lacks the definitions.
    """
    typestore = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted((_share_dir() / 'msg').glob('*.msg')):
        types.update(get_types_from_msg(path.read_text('utf-8'), f'{PACKAGE}/msg/{path.stem}'))
    typestore.register(types)
    return typestore


def package_version() -> str:
    """Return the version of this package."""
    try:
        return importlib.metadata.version('robust_vos_ros')
    except importlib.metadata.PackageNotFoundError:  # the source tree, or a colcon installation
        text = (_share_dir() / 'package.xml').read_text('utf-8')
        return text.partition('<version>')[2].partition('</version>')[0]


def _share_dir() -> Path:
    """Return the folder with `msg/`: the source tree, or in the installation around this file."""
    here = Path(__file__).resolve()
    candidates = [here.parents[2], *(parent / 'share' / PACKAGE for parent in here.parents)]
    for candidate in candidates:
        if (candidate / 'msg' / 'TrackedObject.msg').is_file():
            return candidate
    raise ConfigError(f'no message definitions next to or above {here}; install the package again')
