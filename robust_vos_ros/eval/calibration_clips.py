"""Clips that a calibration is fitted to: real sequences, clean and corrupted, and rendered clips.

Rendered clips are long ones with absences, or contact clips: small real objects on large ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from robust_vos_ros.data.corruption import ROBUSTPVOS, Corruption
from robust_vos_ros.data.corruption_segments import CorruptionSchedule
from robust_vos_ros.data.severity import Profile, clip_seed
from robust_vos_ros.eval.datasets import FolderSequence, FolderSet
from robust_vos_ros.eval.datasets import Sequence as Video
from robust_vos_ros.eval.labelled import LabelledFrame
from robust_vos_ros.eval.rendered import RenderedSet

_SIZE = 384
_CONTACT_FRAMES = 120
_SEVERITIES = (1.0, 3.0, 5.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One clip to track.

    Attributes:
        kind: Name of its kind, for reports.
        sequence: The clip with its ground truth.
        corruption: None = clean.
        prompt: Form of the prompts, one of `prompting.PROMPT_FORMS`.
    """

    kind: str
    sequence: Video
    corruption: Corruption | CorruptionSchedule | None = None
    prompt: str = 'mask'

    def frames(self) -> Iterator[LabelledFrame]:
        """Yield its frames in order."""
        for index, frame in enumerate(self.sequence.frames()):
            if self.corruption is None:
                yield frame
            else:
                image = self.corruption.apply(frame.image, index)
                yield dataclasses.replace(frame, image=image)


def make_clips(
    dataset: FolderSet | None,
    *,
    conditions: int,
    num_clips: int,
    num_frames: int,
    seed: int,
    num_contact: int = 0,
) -> list[Source]:
    """Return the clips of a calibration.

    Args:
        dataset: Real sequences, or None.
        conditions: Times each sequence is used: once clean, then corrupted; corruptions differ
            from sequence to sequence.
        num_clips: Number of long rendered clips.
        num_frames: Frames of each of them.
        seed: Of clips and corruptions.
        num_contact: Number of contact clips; none without a data set.

    Raises:
        DatasetError: The data set cannot be used.
    """
    sources = []
    if dataset is not None:
        for index, video in enumerate(dataset.videos()):
            sequence = FolderSequence(video)
            for turn in range(conditions):
                corruption = _corruption(sequence, index, turn, seed)
                sources.append(Source(dataset.root.name, sequence, corruption))
    rendered = make_rendered(dataset, range(num_clips), num_frames=num_frames, seed=seed)
    contact = make_contact(dataset, num_contact, seed) if dataset is not None else []
    return [*rendered, *contact, *sources]  # long ones first, so that processes end together


def make_rendered(
    dataset: FolderSet | None, numbers: Sequence[int], *, num_frames: int, seed: int
) -> list[Source]:
    """Return long rendered clips; with a data set every second one shows objects of it.

    The appearance of real objects changes more over time than that of drawn ones.

    Args:
        dataset: Source of real objects, or None.
        numbers: Of the clips.
        num_frames: Frames of each of them.
        seed: Of them all.
    """
    drawn = RenderedSet(num_clips=len(numbers), num_frames=num_frames, size=_SIZE, seed=seed)
    real = drawn.model_copy(update={'footage': dataset})
    return [
        _rendered('real objects', real, number)
        if dataset is not None and number % 2
        else _rendered('drawn objects', drawn, number)
        for number in numbers
    ]


def make_contact(dataset: FolderSet, num_clips: int, seed: int) -> list[Source]:
    """Return contact clips, prompted by boxes as people often do.

    Arguments as in `make_clips`.
    """
    clips = RenderedSet(
        kind='contact', num_clips=num_clips, num_frames=_CONTACT_FRAMES, size=_SIZE, seed=seed,
        footage=dataset,
    )  # fmt: skip
    return [_rendered('contact', clips, number, prompt='box') for number in range(num_clips)]


def _rendered(kind: str, clips: RenderedSet, number: int, prompt: str = 'mask') -> Source:
    sequence = clips.open(clips.name_of(number))
    return Source(kind, sequence, sequence.segments, prompt)


def _corruption(sequence: Video, index: int, turn: int, seed: int) -> Corruption | None:
    if turn == 0:
        return None
    name = list(ROBUSTPVOS)[(index * 3 + turn) % len(ROBUSTPVOS)]
    severity = _SEVERITIES[(index + turn) % len(_SEVERITIES)]
    profile = Profile('fourier', severity, sequence.num_frames)
    return Corruption(name, profile, clip_seed(f'calibration/{sequence.name}', seed))
