"""Pictures with named things, as frozen features of the network that words are trained on."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import cv2
import numpy as np
import torch

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.zoom.window import resize
from robust_vos_ros.data.expressions import canonical, things
from robust_vos_ros.data.stills import Still, is_held_out, open_stills
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_teacher import Teacher

LABEL_SIDE = 128
COLOUR_SIDE = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """One picture: what is needed of it, at a fraction of its size.

    Attributes:
        name: Of the still.
        stages: At strides 32 and 16, (c, h, w) float16.
        high_res: For the mask decoder, float16.
        labels: (128, 128) uint8 ids.
        rgb: (64, 64, 3) uint8.
        found: Canonical word by id, of things that are not tiny.
        words: All words that its source names.
        taught: Probability and class of the teacher's best classes, (8, 8, KEPT); None without.
    """

    name: str
    stages: tuple[torch.Tensor, torch.Tensor]
    high_res: tuple[torch.Tensor, torch.Tensor]
    labels: np.ndarray
    rgb: np.ndarray
    found: dict[int, str]
    words: frozenset[str]
    taught: tuple[torch.Tensor, torch.Tensor] | None

    @property
    def is_complete(self) -> bool:
        """Whether unlabelled cells very probably show none of its words."""
        return len(self.found) > 1 or not self.name.startswith('coco/')


@dataclasses.dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures by what they are for."""

    train: list[Picture]
    judge: list[Picture]
    test: list[Picture]
    unseen: list[Picture]


@torch.no_grad()
def read_pictures(settings: WordsTrainSettings, model: Model, teacher: Teacher | None) -> Pictures:
    """Encode all pictures that have names.

    Raises:
        DatasetError: There are none, or a file cannot be used.
    """
    parts: dict[str, list[Picture]] = {name: [] for name in ('train', 'judge', 'test', 'unseen')}
    for still in open_stills(Path(settings.stills).expanduser()):
        if not still.class_names:
            continue
        part = part_of(still, settings)
        picture = read_picture(still, model, teacher if part == 'train' else None)
        if picture.found:
            parts[part].append(picture)
    if not parts['train'] or not parts['judge']:
        raise DatasetError(
            f'{settings.stills}: expected pictures with names.json to train and to judge on, got '
            f'{len(parts["train"])} and {len(parts["judge"])}'
        )
    return Pictures(**parts)


def part_of(still: Still, settings: WordsTrainSettings) -> str:
    """Return what a still is for: train, judge, test or unseen."""
    if is_held_out(still.name, settings.held_out):
        return 'test'
    if {canonical(name) for name in still.class_names.values()} & set(settings.unseen):
        return 'unseen'
    number = hashlib.sha256(f'cal{still.name}'.encode()).digest()[0]
    return 'judge' if number < 256 * settings.for_judging else 'train'


def read_picture(still: Still, model: Model, teacher: Teacher | None) -> Picture:
    """Encode one picture."""
    rgb = still.image()
    labels = np.zeros(rgb.shape[:2], np.uint8)
    for number, mask in still.masks().items():
        labels[mask] = number
    side = (LABEL_SIDE, LABEL_SIDE)
    labels = cv2.resize(labels, side, interpolation=cv2.INTER_NEAREST)
    features = model.encode(resize(rgb, model.image_size)[None])
    assert features.stages is not None, 'the network is not compiled'
    return Picture(
        still.name,
        (features.stages[-1][0].half(), features.stages[-2][0].half()),
        (features.high_res[0][0].half(), features.high_res[1][0].half()),
        labels,
        cv2.resize(rgb, (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA),
        things(labels, still.class_names),
        frozenset(canonical(name) for name in still.class_names.values()),
        None if teacher is None else teacher.look(rgb),
    )


def to_features(pictures: list[Picture], model: Model, *, flip: bool = False) -> Features:
    """Return the features of some pictures as one batch; flipped, they are those of a mirror.

    The finer stages, which words do not change, are left out.
    """
    stages = [torch.stack([one.stages[k] for one in pictures]).float() for k in (0, 1)]
    high = [torch.stack([one.high_res[k] for one in pictures]).float() for k in (0, 1)]
    if flip:
        stages, high = [x.flip(3) for x in stages], [x.flip(3) for x in high]
    channels = model.net.image_encoder.neck.backbone_channel_list
    finer = [torch.zeros(1, wide, 1, 1) for wide in reversed(channels[2:])]
    whole = (*finer, stages[1], stages[0])
    bare = Features(stages[0], stages[0], (high[0], high[1]), stages=whole)
    return model.image_encoder.condition(bare, ())


def share_of(labels: np.ndarray, ids: tuple[int, ...], side: int) -> torch.Tensor:
    """Return (side, side) float32, the share of each cell that some things cover."""
    on = torch.from_numpy(np.isin(labels, ids).astype(np.float32))
    return torch.nn.functional.adaptive_avg_pool2d(on[None, None], side)[0, 0]
