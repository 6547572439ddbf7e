"""Settings of several cameras in one node: those of all, changed by `<camera>.<name>`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.node.settings import Leaf, NodeSettings, leaves, nest

# Groups of settings that hold for all cameras; every other one may also be set for one camera.
COMMON = (
    'autostart', 'bond', 'cameras', 'state_file', 'state_save_interval_s', 'max_pending_requests',
    'model', 'overload', 'diagnostics',
)  # fmt: skip
SWITCH = 'enabled'  # exists for each camera, because ~/<camera>/set_enabled changes it


@dataclasses.dataclass(frozen=True, slots=True)
class AllSettings:
    """The settings of a node.

    Attributes:
        common: Those of all cameras.
        of_cameras: Those of each of several cameras, by name; empty for one without a name.
    """

    common: NodeSettings
    of_cameras: Mapping[str, NodeSettings]

    def of(self, camera: str) -> NodeSettings:
        """Return the settings of a camera; '' = of the only one."""
        return self.of_cameras[camera] if camera else self.common


def leaves_of_cameras(cameras: list[str]) -> dict[str, Leaf]:
    """Return every setting that may be set for one camera, by its full name."""
    return {
        f'{camera}.{leaf.name}': dataclasses.replace(leaf, name=f'{camera}.{leaf.name}')
        for camera in cameras
        for leaf in leaves()
        if leaf.name.split('.')[0] not in COMMON
    }


def parse_all(values: Mapping[str, Any], cameras: list[str]) -> AllSettings:
    """Validate the values of all parameters, by dotted name.

    Raises:
        ConfigError: A value is out of range, for one camera or for all.
    """
    common = {k: v for k, v in values.items() if k.split('.')[0] not in cameras}
    of_cameras = {}
    for camera in cameras:
        mine = common | {
            name.removeprefix(f'{camera}.'): value
            for name, value in values.items()
            if name.startswith(f'{camera}.')
        }
        mine[SWITCH] = mine.get(SWITCH, True) and common.get(SWITCH, True)  # false for all is off
        of_cameras[camera] = parse_settings(NodeSettings, nest(mine))
    return AllSettings(parse_settings(NodeSettings, nest(common)), of_cameras)
