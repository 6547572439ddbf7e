"""Clips of moving things, as frozen features of the network that words are trained on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.words.adapter import Glimpse
from robust_vos_ros.core.words.module import Words
from robust_vos_ros.core.words.motion import Motion
from robust_vos_ros.data.expressions import NO_WORDS, canonical
from robust_vos_ros.data.motion_clips import MotionClip, MotionClipMaker
from robust_vos_ros.data.stills import Still, open_stills
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_motion import Moves
from robust_vos_ros.train.words_pictures import COLOUR_SIDE, LABEL_SIDE, Picture, part_of

_FOR_WHITENING = 64  # clips
_SEEDS = {'train': 0, 'judge': 1, 'test': 2}


@dataclasses.dataclass(frozen=True, slots=True)
class Footage:
    """One clip: what is needed of its T frames.

    Attributes:
        stages: At strides 32, 16 and 8, (T, c, h, w) float16.
        labels: (T, 128, 128) uint8, 1 + row of the thing in `motions`, 0 = none.
        last: The last frame as a picture.
        motions: Of the things, out of MOTIONS.
    """

    stages: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    labels: np.ndarray
    last: Picture
    motions: tuple[str, ...]

    def glimpses(self, words: Words, count: int) -> list[Glimpse]:
        """Return what is kept of the last `count` frames, the newest first."""
        newest_first = range(len(self.labels) - 1, len(self.labels) - 1 - count, -1)
        return [words.glimpse([x[t : t + 1].float() for x in self.stages]) for t in newest_first]


def film(settings: WordsTrainSettings, model: Model, part: str) -> Iterator[Footage]:
    """Make and encode clips of things in the stills of one part: train, judge or test.

    Raises:
        DatasetError: No still of that part has a thing that is large enough.
    """
    maker = MotionClipMaker(_stills(settings, part), model.image_size)
    for index in range(settings.clips if part == 'train' else settings.clips // 6):
        rng = np.random.default_rng([settings.seed, _SEEDS[part], index])
        yield encode_clip(maker.make(rng, settings.words.frames), model, f'clip/{index}')


def words_of_clips(settings: WordsTrainSettings) -> list[str]:
    """Return the words of the stills that clips to train on are made of."""
    stills = _stills(settings, 'train')
    names = {name for one in stills for name in one.class_names.values()} - NO_WORDS
    return sorted(set(map(canonical, names)))


def _stills(settings: WordsTrainSettings, part: str) -> list[Still]:
    stills = open_stills(Path(settings.stills).expanduser())
    return [one for one in stills if one.class_names and part_of(one, settings) == part]


@torch.no_grad()
def watch(footage: Iterable[Footage], motion: Motion) -> list[Moves]:
    """Return how the cells of clips move, after a fit of the whitening to the first ones."""
    clips = iter(footage)
    first = list(itertools.islice(clips, _FOR_WHITENING))
    for level, matching in enumerate(motion.matching, 1):
        matching.fit(torch.cat([one.stages[level] for one in first]))
    found = []
    for clip in itertools.chain(first, clips):
        times = range(len(clip.labels))
        keys = [motion.keys([x[t : t + 1].float() for x in clip.stages[1:]]) for t in times]
        both = [motion.shifts(keys[::-1])[0].half(), motion.shifts(keys)[0].half()]
        found.append(Moves(torch.stack(both), clip.labels[[-1, 0]], clip.motions))
    return found


@torch.no_grad()
def encode_clip(clip: MotionClip, model: Model, name: str) -> Footage:
    """Encode one clip."""
    features = model.encode(torch.from_numpy(clip.images))
    assert features.stages is not None, 'the network is not compiled'
    labels = np.zeros(clip.images.shape[:3], np.uint8)
    for row, mask in enumerate(clip.masks, 1):
        labels[mask > 0] = row
    side = (LABEL_SIDE, LABEL_SIDE)
    small = np.stack([cv2.resize(one, side, interpolation=cv2.INTER_NEAREST) for one in labels])
    found = {row: word for row, word in enumerate(clip.words, 1) if (small[-1] == row).any()}
    last = Picture(
        name,
        (features.stages[-1][-1].half(), features.stages[-2][-1].half()),
        (features.high_res[0][-1].half(), features.high_res[1][-1].half()),
        small[-1],
        cv2.resize(clip.images[-1], (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA),
        found,
        frozenset(clip.words),
        None,
    )
    coarse, middle, fine = (features.stages[-k].half() for k in (1, 2, 3))
    return Footage((coarse, middle, fine), small, last, clip.motions)
