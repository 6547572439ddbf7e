"""The lifecycle node `robust_vos`."""

from __future__ import annotations

import gc
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from robust_vos_ros.core.adapters.files import load_adapter
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.network.model_files import find_adapter
from robust_vos_ros.core.network.optimize import free_cached_memory
from robust_vos_ros.node import parts
from robust_vos_ros.node.camera_settings import SWITCH
from robust_vos_ros.node.diagnostics import Reporter
from robust_vos_ros.node.parameters import NodeParameters
from robust_vos_ros.node.parts import Activated, Configured
from robust_vos_ros.node.pipeline import Corrupt, Pipeline
from robust_vos_ros.node.reports import Report
from robust_vos_ros.node.services import Services
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.node.watchdog import Watchdog

NAME = 'robust_vos'
DIAGNOSTICS_PERIOD_S = 1.0
# Maximum time to wait for the current frame, on deactivation and on a signal, after which the
# process must end within two seconds.
DEACTIVATE_TIMEOUT_S, CLOSE_TIMEOUT_S = 10.0, 1.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class RobustVosNode(LifecycleNode):
    """Tracks objects in an image topic and publishes their masks and confidences.

    - always: services, diagnostics; while not active, services answer NOT_ACTIVE with the reason
    - configure: parameters, publishers, weights, warm-up
    - activate: worker thread, subscriptions
    - deactivate: stops both; objects and their memory are kept
    - cleanup: frees model and device memory
    """

    def __init__(self, *, corrupt: Corrupt, **options: Any) -> None:
        """Create the node, unconfigured.

        Args:
            corrupt: Applies the parameter debug.corruption to images.
            options: Of rclpy's Node, e.g. `context` and `parameter_overrides`.

        Raises:
            ConfigError: A parameter is unknown, out of range or of the wrong type.
        """
        super().__init__(NAME, automatically_declare_parameters_from_overrides=True, **options)
        # Names must differ from private ones of rclpy's Node (_parameters, _services, ...).
        self._ros_settings = NodeParameters(
            self, is_unconfigured=lambda: self._configured is None, check=self._check_adapter
        )
        self._corrupt = corrupt
        self._configured: Configured | None = None
        self._activated: Activated | None = None
        self._guard_transitions()
        self._problem = ''
        self._lifecycle = 'unconfigured'
        cameras = self.settings.camera_names or ['']
        # Not `_services`, which rclpy's Node uses.
        self._our_services = [self._create_services(camera) for camera in cameras]
        self._reporters = {camera: Reporter() for camera in cameras}
        self._watchdogs = {
            camera: Watchdog(self.get_logger(), end_bond=self._end_bond) for camera in cameras
        }
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(
            DIAGNOSTICS_PERIOD_S,
            self._publish_diagnostics,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)),
            post_callback=self._on_clock_jump,
        )

    @property
    def settings(self) -> NodeSettings:
        """The present settings."""
        return self._ros_settings.settings

    @property
    def pipeline(self) -> Pipeline | None:
        """The pipeline of the first camera; None while unconfigured."""
        return None if self._configured is None else self._configured.cameras[0].pipeline

    def start(self) -> None:
        """Configure and activate, as far as that succeeds, unless `autostart` is off."""
        if not self.settings.autostart:
            self.get_logger().info('autostart is off: waiting to be configured and activated')
        elif self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create publishers."""
        try:
            self._configured = parts.configure(self, self._ros_settings, self._corrupt)
        except Exception as error:  # rclpy would not log it
            self._report_problem('cannot configure', error)
            self._release()
            _free_device()
            return FAILURE
        self._problem, self._lifecycle = '', 'inactive'
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        result = super().on_activate(state)
        if result != SUCCESS:
            return result
        try:
            self._activate()
        except Exception as error:
            self._report_problem('cannot activate', error)
            self._deactivate()
            super().on_deactivate(state)  # the publishers
            return FAILURE
        self._problem, self._lifecycle = '', 'active'
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop worker and subscriptions; keep the objects and their memory."""
        self._deactivate()
        self._lifecycle = 'inactive'
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, including device memory."""
        self._release()
        _free_device()
        self._lifecycle = 'unconfigured'
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop for good."""
        self._deactivate()
        self._release()
        _free_device()
        self._lifecycle = 'finalized'
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        self._deactivate()
        self._release()
        _free_device()
        self._lifecycle = 'unconfigured'
        return super().on_error(state)

    def close(self) -> bool:
        """Stop everything; returns False if the worker is still in a computation."""
        ended = self._deactivate(CLOSE_TIMEOUT_S)
        self._release()
        self._jump_handle.unregister()
        self.destroy_node()
        return ended

    def _guard_transitions(self) -> None:
        """Answer invalid transitions, for which rclpy raises without a response to the caller."""
        (service,) = (item for item in self.services if item.srv_type is ChangeState)
        change_state = service.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:
                self.get_logger().warning(f'transition refused: {error}')
                response.success = False
                return response

        service.callback = guarded

    def _activate(self) -> None:
        assert self._configured is not None
        self._configured.pipelines.activate()
        self._activated = parts.activate(self, self._configured)
        for services, camera in zip(self._our_services, self._activated.cameras, strict=True):
            services.serving = camera.serving
            self.get_logger().info(f'waiting for images on {camera.receiver.topic}')

    def _deactivate(self, timeout_s: float = DEACTIVATE_TIMEOUT_S) -> bool:
        """Stop worker and subscriptions; returns False if the worker does not end in time."""
        for services in self._our_services:
            services.serving = None
        activated, self._activated = self._activated, None
        if activated is not None:
            activated.destroy()
        if self._configured is None:
            return True
        ended = self._configured.pipelines.deactivate(timeout_s)
        if not ended:
            self.get_logger().error(
                f'the worker is busy for more than {timeout_s:g} s; it ends after this frame'
            )
        return ended

    def _release(self) -> None:
        configured, self._configured = self._configured, None
        if configured is not None:
            configured.release()

    def _report_problem(self, what: str, error: Exception) -> None:
        self._problem = f'{what}: {error}'
        if not isinstance(error, RobustVosError):
            self._problem = f'{what}: unexpected {type(error).__name__}: {error}'
        self.get_logger().error(self._problem)

    def _explain_inactive(self) -> str:
        because = f' ({self._problem})' if self._problem else ''
        return (
            f'the node is {self._lifecycle}, not active{because}; configure and activate it (ros2 '
            'lifecycle set)'
        )

    def _check_adapter(self, settings: NodeSettings) -> None:
        """Raise WeightsError unless the adapter fits the loaded model."""
        configured = self._configured
        if configured is None or settings.model == self.settings.model:
            return
        path = find_adapter(settings.model)
        if path is not None:
            load_adapter(path, configured.model)

    def _create_services(self, camera: str) -> Services:
        name = f'{camera}.{SWITCH}' if camera else SWITCH
        return Services(
            parts.name_node(self, camera),
            explain_inactive=self._explain_inactive,
            set_enabled=lambda on: self.set_parameters([Parameter(name, value=on)]),
        )

    def _warn_of_twins(self, status: DiagnosticStatus) -> None:
        """Warn of nodes with the same name, whose messages and answers mix with those of this one.

        A node that was killed counts until the middleware has noticed, after some 20 s.
        """
        me = (self.get_name(), self.get_namespace())
        number = self.get_node_names_and_namespaces().count(me)
        if number > 1 and status.level == DiagnosticStatus.OK:
            status.level = DiagnosticStatus.WARN
            status.message = (
                f'{number} nodes are named {self.get_fully_qualified_name()}; end one or give it '
                'another name or namespace'
            )

    def _end_bond(self) -> None:
        if self._activated is not None and self._activated.heartbeat is not None:
            self._activated.heartbeat.end()

    def _on_clock_jump(self, _jump: Any) -> None:
        if self._configured is not None and self._activated is not None:
            for camera in self._activated.cameras:
                camera.notify_clock_jump()
            for configured in self._configured.cameras:
                configured.pipeline.notify_clock_jump()

    def _publish_diagnostics(self) -> None:
        name, configured = self.get_fully_qualified_name().lstrip('/'), self._configured
        activated = None if self._activated is None else self._activated.cameras
        msg = DiagnosticArray()
        for number, (camera, reporter) in enumerate(self._reporters.items()):
            settings = self._ros_settings.all.of(camera)
            pipeline = None if configured is None else configured.cameras[number].pipeline
            finding = self._watchdogs[camera].check(pipeline, settings.watchdog)
            report = Report(
                f'{name}/{camera}' if camera else name,
                lifecycle_state=self._lifecycle,
                problem=self._problem or finding,
                settings=settings,
                model=None if configured is None else configured.model,
                overload=None if configured is None else configured.pipelines.overload,
                camera=None if configured is None else configured.cameras[number],
                positions=None if activated is None else activated[number].positions,
            )
            msg.status += report.make(reporter)
        self._warn_of_twins(msg.status[0])
        msg.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(msg)


def _free_device() -> None:
    gc.collect()  # reference cycles hold device memory
    free_cached_memory()
