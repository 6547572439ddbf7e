"""The parts of a configured node and of an active one."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid

from rclpy.lifecycle import LifecycleNode

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.node import bond
from robust_vos_ros.node.bridge import load_converter
from robust_vos_ros.node.camera_info import CameraInfos, topic_beside
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
from robust_vos_ros.node.state_file import StateFile
from robust_vos_ros.node.threads import Owner, owned

# Of the tracker; a result is immutable.
_SHARED = frozenset({'last_result'})


@dataclasses.dataclass(frozen=True, slots=True)
class Configured:
    """Parts that exist from configure to clean-up."""

    model: Model
    publishers: Publishers
    pipeline: Pipeline
    requests: Requests
    state: StateFile
    classes: ClassIds
    cameras: CameraInfos

    def release(self) -> None:
        """Destroy the publishers and close the state file."""
        self.publishers.destroy()
        self.state.close()


@dataclasses.dataclass(frozen=True, slots=True)
class Activated:
    """Parts that exist from activate to deactivate, besides the worker."""

    receiver: Receiver
    serving: Serving
    clicks: Clicks
    prompts: PromptTopics
    positions: Positions | None
    heartbeat: bond.Bond | None
    undo: contextlib.ExitStack

    def destroy(self) -> None:
        """Destroy the parts in reverse order of creation."""
        self.undo.close()

    def notify_clock_jump(self) -> None:
        """Clear data from before the jump."""
        self.receiver.frames.clear()
        self.clicks.forget_transforms()
        if self.positions is not None:
            self.positions.forget_transforms()


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
        convert = load_converter() if settings.input.cv_bridge else None
        classes = ClassIds(settings.class_names, unknown_value=settings.class_info.unknown_value)
        state = StateFile(settings.state_file, logger, classes)
        state.check()
        undo.callback(state.close)
        cameras = CameraInfos()
        publishers = Publishers(node, classes, cameras)
        undo.callback(publishers.destroy)
        logger.info(f'loading model {settings.model.name}')
        model = load_model(settings.model)
        model.warm_up()
        owner = Owner()
        tracker = owned(
            VideoTracker(model, settings.tracking, session=uuid.uuid4()), owner, shared=_SHARED
        )
        state.load(tracker)
        pipeline = Pipeline(
            tracker,
            publishers,
            state=state,
            corrupt=corrupt,
            convert=convert,
            settings=lambda: parameters.settings,
            now_ns=lambda: node.get_clock().now().nanoseconds,
            logger=logger,
            owner=owner,
        )
        requests = Requests(tracker, publishers, pipeline, logger=logger)
        undo.pop_all()
    logger.info(f'model {model.name} ready on {model.device} ({model.precision})')
    return Configured(model, publishers, pipeline, requests, state, classes, cameras)


def activate(node: LifecycleNode, configured: Configured) -> Activated:
    """Subscribe; on an error, what was created is destroyed.

    Args:
        node: Gets the subscriptions.
        configured: Its pipeline is active.
    """
    pipeline, cameras = configured.pipeline, configured.cameras
    settings = pipeline.settings
    with contextlib.ExitStack() as undo:
        receiver = Receiver(node, pipeline)
        undo.callback(receiver.destroy)
        image_topic = receiver.topic.removesuffix('/compressed')
        cameras.subscribe(node, topic_beside(node, image_topic))
        undo.callback(cameras.destroy)
        serving = Serving(node, pipeline, configured.requests, receiver.frames)
        clicks = Clicks(node, serving, cameras, image_topic=image_topic)
        undo.callback(clicks.destroy)
        detector = Detector(configured.requests, pipeline, node.get_logger())
        prompts = PromptTopics(node, serving, detector)
        undo.callback(prompts.destroy)
        positions = None
        if settings.spatial.enabled:
            positions = Positions(node, cameras, lambda: pipeline.settings)
            undo.callback(positions.destroy)
            pipeline.on_result = positions.offer
            undo.callback(setattr, pipeline, 'on_result', None)
        heartbeat = bond.Bond(node) if settings.bond else None
        if heartbeat is not None:
            undo.callback(heartbeat.destroy)
        return Activated(receiver, serving, clicks, prompts, positions, heartbeat, undo.pop_all())
