"""Settings of a detector whose boxes come in on `~/detector_boxes`."""

from __future__ import annotations

from typing import Literal

import pydantic

from robust_vos_ros.core.settings import Settings, setting


class CorrectSettings(Settings):
    """When a box corrects a visible object (mode correct or add)."""

    iou: float = setting(
        0.5, 'A detection disagrees with a mask if their boxes overlap with an IoU below this; '
        '0 = never.', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    after: int = setting(
        5, 'Number of consecutive arrays that must disagree before the object is corrected.',
        dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    interval: int = setting(
        16, 'Minimum number of arrays between two corrections of an object; SAM 3 re-conditions '
        'every 16 frames.', dynamic=True, ge=1, le=10000,
    )  # fmt: skip


class AddSettings(Settings):
    """When a box becomes a new object (mode add)."""

    after: int = setting(
        3, 'Number of consecutive arrays that must contain an object before it is added.',
        dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    max_covered: float = setting(
        0.3, 'Maximum share of the box of a new object that masks of other objects cover.',
        dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    probation: int = setting(
        15, 'Number of arrays after its addition within which an object may be removed again; '
        'the hot start of SAM 3 has 15 frames.', dynamic=True, ge=1, le=10000,
    )  # fmt: skip
    max_unmatched: int = setting(
        8, 'An object is removed when this many arrays within its probation do not contain it; '
        'SAM 3 uses 8 frames.', dynamic=True, ge=1, le=10000,
    )  # fmt: skip

    @pydantic.model_validator(mode='after')
    def _check_order(self) -> AddSettings:
        if self.max_unmatched > self.probation:
            raise ValueError(
                f'max_unmatched must be at most probation, got {self.max_unmatched} and '
                f'{self.probation}; lower max_unmatched or raise probation'
            )
        return self


class DetectorSettings(Settings):
    """Settings of the detector input `~/detector_boxes`."""

    mode: Literal['restart', 'correct', 'add'] = setting(
        'restart', 'restart = re-initialize OCCLUDED and LOST objects; correct = also correct '
        'visible objects whose mask disagrees; add = also add new objects.',
        dynamic=True,
    )  # fmt: skip
    classes: list[str] = setting(
        [''], 'Classes of boxes that are used. [""] = all classes.', dynamic=True
    )
    min_score: float = setting(
        0.0, 'Minimum score of boxes that are used.', dynamic=True, ge=0.0, le=1.0
    )
    trusted_score: float = setting(
        0.7, 'Minimum score of a box that corrects or adds an object; SAM 3 starts tracks at 0.7.',
        dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    image_size: str = setting(
        '', 'Width and height of the image in whose pixels the boxes are given, such as 960x544; '
        'empty = the size of the camera image.',
        dynamic=True, pattern='^([1-9][0-9]{0,4}x[1-9][0-9]{0,4})?$',
    )  # fmt: skip
    resize: Literal['stretch', 'letterbox', 'top_left'] = setting(
        'stretch', 'How the detector resizes the camera image to that size: stretch = width and '
        'height independently; letterbox = with the aspect ratio kept, centred between bars; '
        'top_left = with the aspect ratio kept, and a bar on the right or below.', dynamic=True,
    )  # fmt: skip
    max_boxes: int = setting(
        300, 'Maximum number of boxes read per array; further ones are ignored. An array of more '
        'than 1000 bytes per box of this number is refused.', dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    match_iou: float = setting(
        0.5, 'Minimum IoU of two boxes that show the same object (mode add).',
        dynamic=True, ge=0.01, le=1.0,
    )  # fmt: skip
    sync_tolerance_s: float = setting(
        0.1, 'To correct and add, boxes are compared with the result nearest in time, within this '
        'difference of stamps.', unit='s', dynamic=True, ge=0.0, le=10.0,
    )  # fmt: skip
    correct: CorrectSettings = CorrectSettings()
    add: AddSettings = AddSettings()

    @property
    def class_names(self) -> frozenset[str]:
        """The accepted classes; empty = all."""
        return frozenset(name for name in self.classes if name)

    @property
    def image_wh(self) -> tuple[int, int] | None:
        """Width and height of the image of the detector; None = the camera image."""
        width, _, height = self.image_size.partition('x')
        return (int(width), int(height)) if height else None
