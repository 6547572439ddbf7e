"""Settings of a detector whose boxes come in on `~/detector_boxes`."""

from __future__ import annotations

from typing import Literal

import pydantic

from robust_vos_ros.core.settings import Settings, setting


class CorrectSettings(Settings):
    """When a box corrects an object in view (mode correct or add)."""

    iou: float = setting(
        0.5, 'A box of the object and the box of its mask that overlap, but with an IoU below '
        'this, disagree; 0 = never.', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    after: int = setting(
        5, 'So many arrays in a row have to disagree before the object is corrected.',
        dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    interval: int = setting(
        16, 'At least so many arrays between two corrections of an object; SAM 3 re-conditions '
        'every 16 frames.', dynamic=True, ge=1, le=10000,
    )  # fmt: skip


class AddSettings(Settings):
    """When a box becomes a new object (mode add)."""

    after: int = setting(
        3, 'So many arrays in a row have to show a thing before it is added.',
        dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    max_covered: float = setting(
        0.3, 'A box of which the masks of objects cover a larger share is no new object.',
        dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    probation: int = setting(
        15, 'So many arrays after it was added an object may still be removed again; the hot '
        'start of SAM 3 has 15 frames.', dynamic=True, ge=1, le=10000,
    )  # fmt: skip
    max_unmatched: int = setting(
        8, 'It is removed when so many arrays within its probation do not show it; SAM 3 takes '
        '8 frames.', dynamic=True, ge=1, le=10000,
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
        'restart', 'restart = start objects again that are out of sight; correct = that, and '
        'correct objects in view whose mask disagrees; add = both, and add new objects.',
        dynamic=True,
    )  # fmt: skip
    classes: list[str] = setting(
        [''], 'Only boxes of these classes count. [""] = of all classes.', dynamic=True
    )
    min_score: float = setting(
        0.0, 'Only boxes of at least this score count.', dynamic=True, ge=0.0, le=1.0
    )
    trusted_score: float = setting(
        0.7, 'Least score of a box that corrects or adds an object; SAM 3 starts tracks from 0.7 '
        'on.', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    image_size: str = setting(
        '', 'Width and height of the image the boxes are pixels of, where the detector resizes, '
        'as 960x544; empty = those of the camera image.',
        dynamic=True, pattern='^([1-9][0-9]{0,4}x[1-9][0-9]{0,4})?$',
    )  # fmt: skip
    resize: Literal['stretch', 'letterbox', 'top_left'] = setting(
        'stretch', 'How the detector brings the camera image to that size: stretch = each side by '
        'itself; letterbox = both sides alike, with bars on both sides; top_left = both sides '
        'alike, with a bar on the right or below.', dynamic=True,
    )  # fmt: skip
    max_boxes: int = setting(
        300, 'Boxes read of one array; those after them are left out. An array of more than 1000 '
        'bytes for each of these is refused as a whole.', dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    match_iou: float = setting(
        0.5, 'From this IoU on two boxes show the same thing (mode add).',
        dynamic=True, ge=0.01, le=1.0,
    )  # fmt: skip
    sync_tolerance_s: float = setting(
        0.1, 'To correct and add, boxes are compared with the result nearest in time, at most so '
        'far away.', unit='s', dynamic=True, ge=0.0, le=10.0,
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
