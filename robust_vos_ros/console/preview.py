"""Segment prompts in images of a bag, with the model in this process; imports torch, not ROS."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.console import views
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.prompting.segmentation import segment_once
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.ros_types.messages import MessageMaker


class Previewer:
    """Loads the model when it is needed first; thread-safe.

    Args:
        settings: Of the network.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._model: Model | None = None
        self._lock = threading.Lock()
        self._maker = MessageMaker(message_typestore().types, np.asarray)

    def warm_up(self) -> None:
        """Load the model, unless it is loaded.

        Raises:
            ConfigError, WeightsError: The model cannot be loaded.
        """
        self._load()

    def _load(self) -> Model:
        with self._lock:
            if self._model is None:
                model = load_model(self._settings)
                model.warm_up()
                self._model = model
            return self._model

    def check_words(self, text: str) -> str:
        """Return a normalized expression, after a check that it can be searched for.

        Raises:
            PromptError: It cannot be used, or words are not available.
            ConfigError, WeightsError: The model cannot be loaded.
        """
        finder = self._load().finder
        assert finder is not None, 'load_model makes one'
        with self._lock:
            return finder.check(text)

    def preview(self, frame: Frame, prompt: Prompt) -> dict[str, Any]:
        """Segment a prompt.

        Args:
            frame: The image.
            prompt: In pixels of the image.

        Returns:
            The objects for the page, and a message with warnings after its first part.

        Raises:
            PromptError: The prompt cannot be used.
            ConfigError, WeightsError: The model cannot be loaded.
        """
        model = self._load()
        with self._lock:
            result = segment_once(model, frame, [prompt], 1)
        objects = [
            views.to_object(self._maker.to_object(item), result.label_mask)
            for item in result.objects
        ]
        return {'message': '; '.join(('segmented', *result.warnings)), 'objects': objects}
