"""Score the weights of a running training as `robust-vos compare` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.data.video_folder import open_dataset
from robust_vos_ros.eval import compare as comparison
from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.validation import Score, Scorer


def make_scorer(settings: TrainSettings) -> Scorer:
    """Return a function that scores a file of weights, or an adapter, on the development split.

    Args:
        settings: Of the training; `validation` is set.

    Raises:
        DatasetError, ImageError: The development split cannot be scored.
    """
    validation = settings.validation
    assert validation is not None
    dataset = open_dataset(
        Path(validation.root).expanduser(),
        layout=validation.layout,
        split=validation.split,
        frame_stride=validation.frame_stride,
        max_frames=validation.max_frames,
    )
    # Reads every file, so that errors are raised now and not after hours.
    comparison.compare(comparison.baseline_methods()[:1], dataset)

    def score(path: Path) -> Score:
        files = {'checkpoint': str(path), 'adapter': 'none'}
        if settings.adapter:
            files = {'checkpoint': settings.weights, 'adapter': str(path)}
        model = load_model(
            ModelSettings(name=settings.model, device=settings.device, calibration='none', **files)
        )
        methods = comparison.network_methods('', model, validation.prompts)
        rows = comparison.compare(methods, dataset)
        return Score(
            round(100 * float(np.mean([row.total.jf for row in rows])), 2),
            {
                form: comparison.row_numbers(row)
                for form, row in zip(validation.prompts, rows, strict=True)
            },
        )

    return score
