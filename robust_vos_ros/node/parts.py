"""The parts of a configured node and of an active one, per camera."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleNode

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.optimize import spare_threads
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.node import bond
from robust_vos_ros.node.bridge import load_converter
from robust_vos_ros.node.camera_info import CameraInfos, topic_beside
from robust_vos_ros.node.cameras import Cameras, SharedModel
from robust_vos_ros.node.class_ids import ClassIds
from robust_vos_ros.node.clicks import Clicks
from robust_vos_ros.node.detector import Detector
from robust_vos_ros.node.parameters import NodeParameters
from robust_vos_ros.node.pipeline import Corrupt, Pipeline
from robust_vos_ros.node.positions import Positions
from robust_vos_ros.node.prompt_topics import PromptTopics
from robust_vos_ros.node.publishers import Publishers
from robust_vos_ros.node.receiver import Receiver
from robust_vos_ros.node.requests import Requests
from robust_vos_ros.node.serving import Serving
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.node.state_file import StateFile
from robust_vos_ros.node.sub_node import SubNode
from robust_vos_ros.node.threads import Owner, owned

# Of the tracker; a result is immutable.
_SHARED = frozenset({'last_result'})


@dataclasses.dataclass(frozen=True, slots=True)
class Outputs:
    """Where the results of a camera go; created before the model is loaded.

    Attributes:
        camera: Name of the camera; empty if the node has only one.
        node: The node, or a SubNode for one of several cameras.
    """

    camera: str
    node: Any
    publishers: Publishers
    state: StateFile
    classes: ClassIds
    infos: CameraInfos

    def release(self) -> None:
        """Destroy the publishers and close the state file."""
        self.publishers.destroy()
        self.state.close()


@dataclasses.dataclass(frozen=True, slots=True)
class ConfiguredCamera:
    """Parts of a camera that exist from configure to clean-up."""

    outputs: Outputs
    pipeline: Pipeline
    requests: Requests


@dataclasses.dataclass(frozen=True, slots=True)
class Configured:
    """Parts that exist from configure to clean-up."""

    model: Model
    cameras: Sequence[ConfiguredCamera]
    pipelines: Cameras

    def release(self) -> None:
        """Release the parts of all cameras."""
        for camera in self.cameras:
            camera.outputs.release()


@dataclasses.dataclass(frozen=True, slots=True)
class ActivatedCamera:
    """Parts of a camera that exist from activate to deactivate, besides the worker."""

    receiver: Receiver
    serving: Serving
    clicks: Clicks
    prompts: PromptTopics
    positions: Positions | None

    def notify_clock_jump(self) -> None:
        """Clear data from before the jump."""
        self.receiver.frames.clear()
        self.clicks.forget_transforms()
        if self.positions is not None:
            self.positions.forget_transforms()


@dataclasses.dataclass(frozen=True, slots=True)
class Activated:
    """Parts that exist from activate to deactivate, besides the worker."""

    cameras: Sequence[ActivatedCamera]
    heartbeat: bond.Bond | None
    undo: contextlib.ExitStack

    def destroy(self) -> None:
        """Destroy the parts in reverse order of creation."""
        self.undo.close()


def name_node(node: LifecycleNode, camera: str) -> Any:
    """Return the node for a camera: itself for the only one, whose name is empty."""
    return SubNode(node, camera) if camera else node


def state_path(state_file: str, camera: str) -> str:
    """Return the path of the state file of a camera: tracks.front.bin beside tracks.bin."""
    if not state_file or not camera:
        return state_file
    path = Path(state_file)
    return str(path.with_name(f'{path.stem}.{camera}{path.suffix}'))


def configure(node: LifecycleNode, parameters: NodeParameters, corrupt: Corrupt) -> Configured:
    """Load the model and create publishers; on an error, what was created is released.

    Args:
        node: Gets the publishers.
        parameters: Of the node.
        corrupt: As in `Pipeline`.
    """
    settings, logger = parameters.settings, node.get_logger()
    with contextlib.ExitStack() as undo:
        # Checks that fail quickly precede loading the model.
        if settings.bond:
            bond.check_installed()
        outputs = []
        for name in settings.camera_names or ['']:
            outputs.append(_create_outputs(node, name, parameters.all.of(name)))
            undo.callback(outputs[-1].release)
        logger.info(f'loading model {settings.model.name}')
        threads = settings.model.num_threads or spare_threads()
        model = load_model(settings.model.model_copy(update={'num_threads': threads}))
        model.warm_up()
        shared = SharedModel(model, settings.model, logger)
        cameras = [_configure_camera(node, each, shared, parameters, corrupt) for each in outputs]
        undo.pop_all()
    logger.info(f'model {model.name} ready on {model.device} ({model.precision})')
    return Configured(model, cameras, Cameras([camera.pipeline for camera in cameras]))


def _create_outputs(node: LifecycleNode, camera: str, settings: NodeSettings) -> Outputs:
    """Create publishers and state file of a camera; on an error, none is left."""
    classes = ClassIds(settings.class_names, unknown_value=settings.class_info.unknown_value)
    path = state_path(settings.state_file, camera)
    state = StateFile(path, node.get_logger(), classes)
    state.check()
    infos = CameraInfos()
    named = name_node(node, camera)
    return Outputs(camera, named, Publishers(named, classes, infos), state, classes, infos)


def _configure_camera(
    node: LifecycleNode,
    outputs: Outputs,
    shared: SharedModel,
    parameters: NodeParameters,
    corrupt: Corrupt,
) -> ConfiguredCamera:
    """Create tracker and pipeline of a camera, and restore its objects."""
    name, publishers, logger = outputs.camera, outputs.publishers, node.get_logger()
    settings = parameters.all.of(name)
    owner = Owner()
    tracker = owned(
        VideoTracker(shared.model, settings.tracking, session=uuid.uuid4()), owner, shared=_SHARED
    )
    outputs.state.load(tracker)
    pipeline = Pipeline(
        tracker,
        publishers,
        state=outputs.state,
        corrupt=corrupt,
        convert=load_converter() if settings.input.cv_bridge else None,
        follow_model=shared.follow,
        settings=lambda: parameters.all.of(name),
        camera=name,
        now_ns=lambda: node.get_clock().now().nanoseconds,
        logger=logger,
        owner=owner,
    )
    return ConfiguredCamera(
        outputs, pipeline, Requests(tracker, publishers, pipeline, logger=logger)
    )


def activate(node: LifecycleNode, configured: Configured) -> Activated:
    """Subscribe; on an error, what was created is destroyed.

    Args:
        node: Gets the subscriptions.
        configured: Its pipelines are active.
    """
    with contextlib.ExitStack() as undo:
        cameras = [_activate_camera(camera, undo) for camera in configured.cameras]
        heartbeat = None
        if configured.cameras[0].pipeline.settings.bond:
            heartbeat = bond.Bond(node)
            undo.callback(heartbeat.destroy)
        return Activated(cameras, heartbeat, undo.pop_all())


def _activate_camera(camera: ConfiguredCamera, undo: contextlib.ExitStack) -> ActivatedCamera:
    """Subscribe for one camera; `undo` gets what destroys the subscriptions."""
    pipeline, node, infos = camera.pipeline, camera.outputs.node, camera.outputs.infos
    receiver = Receiver(node, pipeline)
    undo.callback(receiver.destroy)
    image_topic = receiver.topic.removesuffix('/compressed')
    infos.subscribe(node, topic_beside(node, image_topic))
    undo.callback(infos.destroy)
    serving = Serving(node, pipeline, camera.requests, receiver.frames)
    clicks = Clicks(node, serving, infos, image_topic=image_topic)
    undo.callback(clicks.destroy)
    detector = Detector(camera.requests, pipeline, node.get_logger())
    prompts = PromptTopics(node, serving, detector)
    undo.callback(prompts.destroy)
    positions = None
    if pipeline.settings.spatial.enabled:
        positions = Positions(node, infos, lambda: pipeline.settings, camera=pipeline.camera)
        undo.callback(positions.destroy)
        pipeline.on_result = positions.offer
        undo.callback(setattr, pipeline, 'on_result', None)
    return ActivatedCamera(receiver, serving, clicks, prompts, positions)
