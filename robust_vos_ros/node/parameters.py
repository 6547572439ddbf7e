"""ROS parameters made from NodeSettings: declared, read, and checked when they change."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from robust_vos_ros.core.errors import ConfigError, RobustVosError
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.node.camera_settings import SWITCH, leaves_of_cameras, parse_all
from robust_vos_ros.node.settings import Leaf, NodeSettings, flatten, leaves, nest

# Declared by rclpy, for the node or for a subscription.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides')


class NodeParameters:
    """The settings of a node, synchronized with its ROS parameters.

    A parameter of one of several cameras exists if it is given at the start, besides `enabled`.
    Create the node with `automatically_declare_parameters_from_overrides=True`: only then are
    unknown keys found.

    Attributes:
        all: The present settings; replaced as a whole, so any thread may read them.
    """

    def __init__(
        self,
        node: Node,
        *,
        is_unconfigured: Callable[[], bool],
        check: Callable[[NodeSettings], None] = lambda settings: None,  # noqa: ARG005
    ) -> None:
        """Declare every setting as a parameter.

        Args:
            node: Gets the parameters.
            is_unconfigured: Returns whether settings that are not dynamic may change.
            check: Raises RobustVosError if settings do not fit the loaded model.

        Raises:
            ConfigError: A given value is out of range or of the wrong type, or a name is unknown.
        """
        self._node = node
        self._is_unconfigured = is_unconfigured
        self._fits = check
        self._leaves = {leaf.name: leaf for leaf in leaves()}
        common = parse_settings(NodeSettings, nest(self._given()))
        self._cameras = common.camera_names
        self._leaves |= leaves_of_cameras(self._cameras)
        self._check_names()
        switches = {f'{camera}.{SWITCH}': True for camera in self._cameras}
        self._values = flatten(common) | switches | self._given()
        self.all = parse_all(self._values, self._cameras)
        for name, value in self._values.items():
            if node.has_parameter(name):  # declared from an override, without a descriptor
                node.undeclare_parameter(name)
            node.declare_parameter(
                name, value, descriptor(self._leaves[name]), ignore_override=True
            )
        node.add_pre_set_parameters_callback(self._integers_to_floats)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._apply)

    @property
    def settings(self) -> NodeSettings:
        """The present settings that hold for all cameras."""
        return self.all.common

    def _given(self) -> dict[str, Any]:
        """Return the values of known names that were given at the start."""
        return {
            name: _coerce(self._node.get_parameter(name).value, leaf)
            for name, leaf in self._leaves.items()
            if self._node.has_parameter(name)
        }

    def _check_names(self) -> None:
        groups = {name.split('.')[0] for name in self._leaves if '.' in name}
        for name in self._node.get_parameters_by_prefix(''):
            group = name.split('.')[0]
            if name in self._leaves or group in FOREIGN:
                continue
            close = difflib.get_close_matches(name, self._leaves, n=1, cutoff=0.8)
            hint = f'; did you mean {close[0]}?' if close else ''
            if group in groups or close:
                raise ConfigError(f'there is no parameter {name}{hint}')
            # A file for `/**` may hold parameters of other nodes: a warning, not an error.
            self._node.get_logger().warning(f'unknown parameter {name} is ignored')

    def _integers_to_floats(self, parameters: Sequence[Parameter]) -> list[Parameter]:
        """Convert integers to float where needed: `ros2 param set` sends 3 as an integer."""
        return [
            Parameter(parameter.name, value=float(parameter.value))
            if parameter.type_ == Parameter.Type.INTEGER
            and parameter.name in self._leaves
            and self._leaves[parameter.name].type is float
            else parameter
            for parameter in parameters
        ]

    def _changed(self, parameters: Sequence[Parameter]) -> dict[str, Any]:
        old = self._values
        return {
            parameter.name: parameter.value
            for parameter in parameters
            if parameter.name in old and parameter.value != old[parameter.name]
        }

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        changed = self._changed(parameters)
        frozen = [name for name in changed if not self._leaves[name].dynamic]
        if frozen and not self._is_unconfigured():
            reason = (
                f'{", ".join(frozen)} can only change while the node is unconfigured: '
                'deactivate and clean up first (ros2 lifecycle set)'
            )
            return SetParametersResult(successful=False, reason=reason)
        if 'cameras' in changed:
            reason = 'cameras can only be set when the node starts: start it again with them'
            return SetParametersResult(successful=False, reason=reason)
        try:
            self._fits(parse_all(self._values | changed, self._cameras).common)
        except RobustVosError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, parameters: Sequence[Parameter]) -> None:
        changed = self._changed(parameters)
        if changed:
            self._values = self._values | changed
            self.all = parse_all(self._values, self._cameras)


def descriptor(leaf: Leaf) -> ParameterDescriptor:
    """Return the ROS description of a setting: text, unit, choices and range."""
    result = ParameterDescriptor(description=leaf.description)
    if leaf.unit:
        result.description += f' Unit: {leaf.unit}.'
    notes = [leaf.range_text, '' if leaf.dynamic else 'only while unconfigured']
    result.additional_constraints = '; '.join(note for note in notes if note)
    if leaf.lower is not None and leaf.upper is not None:
        if leaf.type is int:
            span = IntegerRange(from_value=int(leaf.lower), to_value=int(leaf.upper), step=1)
            result.integer_range = [span]
        elif leaf.type is float:
            result.floating_point_range = [
                FloatingPointRange(from_value=float(leaf.lower), to_value=float(leaf.upper))
            ]
    return result


def _coerce(value: Any, leaf: Leaf) -> Any:
    """Convert an integer for a float, such as `lost_after_s: 3` in a file; refuse other types.

    An empty list has no type in ROS, and arrives as None.
    """
    if leaf.type is list and not value and not isinstance(value, str | bool | int):
        return ['']
    if leaf.type is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if leaf.type in (int, float) and isinstance(value, bool | str):
        # pydantic would accept '3' and true as numbers; ROS users expect a type error.
        raise ConfigError(f'{leaf.name}: expected {leaf.type.__name__}, got {value!r}')
    if leaf.type in (bool, str, list) and not isinstance(value, leaf.type):
        raise ConfigError(f'{leaf.name}: expected {leaf.type.__name__}, got {value!r}')
    return value
