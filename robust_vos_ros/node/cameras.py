"""The pipelines of all cameras, on one worker and one model."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.impl.rcutils_logger import RcutilsLogger

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import find_adapter
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.types import UNSEEN_STATES
from robust_vos_ros.node.overload import Overload
from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.worker import Worker


class SharedModel:
    """The model of all cameras; switches its adapter. For the worker's thread only.

    Args:
        model: The network.
        settings: With which it was loaded.
        logger: Of the node.
    """

    def __init__(self, model: Model, settings: ModelSettings, logger: RcutilsLogger) -> None:
        self.model = model
        self._adapter = settings.adapter
        self._logger = logger

    def follow(self, settings: ModelSettings) -> None:
        """Use the adapter of the settings, or keep the old one on an error; tracks stay."""
        if settings.adapter == self._adapter:
            return
        self._adapter = settings.adapter
        try:
            adapters.use(self.model, find_adapter(settings))
            self._logger.info(f'adapter: {self._adapter}')
        except RobustVosError as error:
            text = f'adapter {self._adapter} not used: {error}'
            self._logger.error(text)  # noqa: TRY400  the logger of ROS knows no exception()


class Cameras:
    """Activates and deactivates the pipelines of all cameras together.

    Args:
        pipelines: One per camera, at least one.

    Attributes:
        pipelines: The same.
        overload: Of this activation, or of the last one; None before the first.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self.pipelines = tuple(pipelines)
        self.overload: Overload | None = None
        self._worker: Worker | None = None

    def activate(self) -> None:
        """Start the worker, with statistics from zero.

        Raises:
            RobustVosError: The worker of the last activation has not ended.
        """
        if self._worker is not None and not self._worker.stop(0.0):
            raise RobustVosError('the last frame is still being processed; activate again later')
        first = self.pipelines[0]
        self.overload = Overload(lambda: first.settings.overload, self._would_help)
        self._worker = Worker()
        for pipeline in self.pipelines:
            pipeline.activate(self._worker, self.overload)
        self._worker.start()

    def deactivate(self, timeout_s: float) -> bool:
        """Stop worker and pictures, save the objects; returns False if the worker does not end."""
        if self._worker is None:
            return True
        for pipeline in self.pipelines:
            pipeline.lane = None
        ended = self._worker.stop(timeout_s)
        for pipeline in self.pipelines:
            pipeline.deactivate(timeout_s, may_save=ended)
        return ended

    def _would_help(self, level: int) -> bool:
        """Whether a level of overload would leave out anything at present."""
        for pipeline in self.pipelines:
            tracking, result = pipeline.settings.tracking, pipeline.last_result
            objects = () if result is None else result.objects
            unseen = any(item.state in UNSEEN_STATES for item in objects)
            helps = {
                1: tracking.tree.max_hypotheses > 1 and len(objects) > 0,
                2: tracking.reacquire.redetect and unseen,
                3: len(objects) > 1,
            }
            if helps[level]:
                return True
        return False
