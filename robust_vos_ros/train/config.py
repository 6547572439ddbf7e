"""Settings of training; `config/train/*.yaml` hold their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml

from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import Settings, load_yaml, parse_settings, setting
from robust_vos_ros.data.mixture import DataSettings


class RolloutSettings(Settings):
    """Prompts, memory and losses of the roll-out over a clip."""

    mask_prompts: float = setting(
        0.6,
        'Share of objects prompted by a mask; the others are prompted by a box or clicks.',
        ge=0.0,
        le=1.0,
    )
    correction_share: float = setting(
        0.3, 'Share of steps with a correction click.', ge=0.0, le=1.0
    )
    prompt_weight: float = setting(
        0.5, 'Weight of the losses of prompted and corrected frames.', ge=0.0, le=10.0
    )
    deep_weight: float = setting(
        1.0,
        'Weight of the loss of a coarse mask predicted from memory-conditioned features.',
        ge=0.0,
        le=10.0,
    )
    calibration_weight: float = setting(
        0.5, 'Weight of the loss of a mask predicted from calibrated proto-maps.', ge=0.0, le=10.0
    )
    teacher_weight: float = setting(
        0.0,
        'Weight of the distance between memory-conditioned features and those of the untrained '
        'model on the clean clip; 0 = no teacher.',
        ge=0.0,
        le=1000.0,
    )
    memory_dropout: float = setting(
        0.15, 'Share of tracked frames that do not enter memory.', ge=0.0, lt=1.0
    )
    previous_dropout: float = setting(
        0.1,
        'Share of tracked frames without the mask of the frame before as input.',
        ge=0.0,
        le=1.0,
    )
    teacher_forcing: float = setting(
        0.5,
        'Share of true masks of the frame before as input, at the start; it falls to 0.',
        ge=0.0,
        le=1.0,
    )
    teacher_share: float = setting(
        0.3,
        'Share of the training after which no true mask of the frame before is used.',
        gt=0.0,
        le=1.0,
    )


class DistillSettings(Settings):
    """Weights of the distances of features in the stage `distill`."""

    coarse: float = setting(1.0, 'Weight of the features at stride 16.', ge=0.0, le=100.0)
    middle: float = setting(1.0, 'Weight of the features at stride 8.', ge=0.0, le=100.0)
    fine: float = setting(0.5, 'Weight of the features at stride 4.', ge=0.0, le=100.0)


class GateSettings(Settings):
    """Penalties of the gates of an adapter, see `train/gating.py`."""

    entropy: float = setting(0.0, 'Weight of the entropy of gates.', ge=0.0, le=100.0)
    balance: float = setting(
        0.0, 'Weight of the imbalance of each gate over a batch.', ge=0.0, le=100.0
    )


class OptimizerSettings(Settings):
    """AdamW with warm-up and cosine decay, and the moving average of the weights."""

    learning_rate: float = setting(1e-3, 'Learning rate at its peak.', gt=0.0, le=1.0)
    trunk_factor: float = setting(
        0.1, 'Factor of the learning rate of the image trunk.', ge=0.0, le=1.0
    )
    gate_factor: float = setting(
        10.0, 'Factor of the learning rate of the gates of an adapter.', ge=0.0, le=100.0
    )
    warmup_steps: int = setting(200, 'Steps of linear warm-up.', ge=0)
    final_factor: float = setting(0.02, 'Factor of the learning rate at the end.', ge=0.0, le=1.0)
    weight_decay: float = setting(0.05, 'Weight decay of matrices.', ge=0.0, le=1.0)
    max_grad_norm: float = setting(1.0, 'Gradients are clipped to this norm.', gt=0.0)
    ema_decay: float = setting(
        0.999, 'Decay of the moving average of the weights, per step.', ge=0.0, lt=1.0
    )


class ValidationSettings(Settings):
    """Scores of the moving average on a development split, as `robust-vos compare` makes them."""

    root: str = setting(..., 'Folder of a video data set with masks of all frames.')
    layout: str = setting('folders', 'Its layout: davis2016, davis2017, youtube_vos, ...')
    split: str = setting(
        '', 'Its split, such as val.txt; empty = all, where the layout allows it.'
    )
    every_steps: int = setting(500, 'Steps between scores, rounded up to a line of the log.', ge=1)
    frame_stride: int = setting(1, 'Track every n-th frame.', ge=1)
    max_frames: int = setting(0, 'Frames tracked per sequence; 0 = all.', ge=0)
    prompts: list[Literal['mask', 'box', 'clicks3', 'click1']] = setting(
        ['mask'],
        'Forms of the prompts in the first frame; the best weights have the highest mean J&F '
        'over them.',
        min_length=1,
    )


class TrainSettings(Settings):
    """One training."""

    stage: Literal['rollout', 'distill', 'refine'] = setting(
        'rollout',
        'rollout = track objects through clips; distill = give the features of clean pictures on '
        'corrupted ones, for an adapter of the image encoder; refine = refine the masks of '
        'prompts in single pictures, which trains the prompt refiner alone.',
    )
    model: str = setting('nano', 'Model: a file name in config/models without its ending.')
    trunk_weights: str = setting(
        '', 'MobileNetV2 checkpoint (torchvision layout) to start the trunk from; empty = random.'
    )
    weights: str = setting(
        '',
        'Weights of the whole model to start from; empty = random, or with an adapter the '
        "model's own.",
    )
    start_state: str = setting(
        '',
        'state.pt of an earlier training to start from: tensors of equal name and shape, without '
        'the optimizer. The network itself is taken from it only without `weights` and `adapter`; '
        'empty = none.',
    )
    frozen: list[str] = setting([], 'Prefixes of the names of parameters that are not trained.')
    steps: int = setting(6000, 'Optimizer steps.', ge=1)
    seed: int = setting(0, 'Seed of everything random.', ge=0)
    device: str = setting('auto', 'Torch device: auto (cuda when present, else cpu), cpu, cuda:N.')
    precision: Literal['auto', 'fp32', 'bf16'] = setting(
        'auto',
        'Precision of forward and backward pass: auto = bf16 if the hardware supports it, else '
        'fp32.',
    )
    num_threads: int = setting(0, 'CPU threads of torch; 0 = all.', ge=0, le=256)
    num_workers: int = setting(
        1, 'Processes that make clips; 0 = the training process makes them.', ge=0, le=64
    )
    save_every_s: float = setting(120.0, 'Time between checkpoints.', unit='s', ge=0.0)
    max_seconds: float = setting(
        0.0, 'Stop with a checkpoint after this time; 0 = at the last step.', unit='s', ge=0.0
    )
    log_every: int = setting(20, 'Steps between lines of the log.', ge=1)
    adapter: AdapterSettings | None = setting(
        None, 'Train this adapter of the model and nothing else; null = train the model.'
    )
    data: DataSettings = DataSettings()
    rollout: RolloutSettings = RolloutSettings()
    distill: DistillSettings = DistillSettings()
    gates: GateSettings = GateSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    validation: ValidationSettings | None = setting(
        None,
        'Score the moving average and keep the best one as best.safetensors; null = no scores.',
    )


def load_settings(path: Path, changes: list[str]) -> TrainSettings:
    """Read a training file and change some of its values.

    Args:
        path: YAML file.
        changes: `key=value` or `section.key=value`; values are YAML.

    Raises:
        ConfigError: The file or a change does not fit the settings.
    """
    return parse_settings(TrainSettings, read_values(path, changes))


def read_values(path: Path, changes: list[str]) -> dict[str, Any]:
    """Return the values of a training file after changes; arguments and errors as above."""
    values = load_yaml(path)
    for change in changes:
        key, separator, text = change.partition('=')
        if not separator:
            raise ConfigError(f'--set: expected key=value, got {change!r}')
        section: dict[str, Any] = values
        *parents, name = key.strip().split('.')
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError(f'--set {change}: {parent} is a value, not a section')
        try:
            section[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f'--set {change}: {text!r} is not YAML: {error}') from error
    return values
