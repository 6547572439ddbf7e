"""Settings of tracking: sizes, confidence and states, with the sections of `tracking_sections`."""

from __future__ import annotations

import pydantic

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.core.tracking_sections import (
    GuardSettings,
    MemorySettings,
    ReacquireSettings,
    TreeSettings,
    WordSearchSettings,
    ZoomSettings,
)


class TrackerSettings(Settings):
    """All settings of the tracker."""

    max_objects: int = setting(16, 'Maximum number of tracked objects.', ge=1, le=64)
    max_prompted_entries: int = setting(
        4,
        'Maximum number of prompted frames in the memory of an object: the first one and '
        'the newest ones.',
        ge=1,
        le=16,
    )
    prompt_buffer_s: float = setting(
        2.0,
        'A prompt may refer to a frame up to this long ago, as far as prompt_buffer_mb suffices.',
        unit='s',
        ge=0.0,
        le=30.0,
    )
    prompt_buffer_mb: int = setting(
        256,
        'Maximum memory for these past frames: 0.2 MB per frame at 256 px, 3.1 MB at '
        '1024 px. 256 MB hold 2 s at 640 frames per second (256 px) or 40 (1024 px).',
        unit='MB',
        ge=0,
        le=16384,
    )
    visible_on: float = setting(
        0.8,
        'An unseen object becomes visible when the probability that the mask is on the '
        'object reaches this value.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    visible_off: float = setting(
        0.6,
        'A visible object becomes unseen, and has no mask, when this probability falls '
        'below this value; at most visible_on.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    tracked_on: float = setting(
        0.6,
        'An object becomes TRACKED when its confidence reaches this value.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    tracked_off: float = setting(
        0.45,
        'A TRACKED object becomes UNCERTAIN when its confidence falls below this value; '
        'at most tracked_on.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    confirm_after_s: float = setting(
        0.2,
        'Minimum time in the state INITIALIZING after a prompt.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )
    occluded_after_s: float = setting(
        0.15,
        'An object becomes OCCLUDED when it has been unseen for this time; until then it '
        'is UNCERTAIN.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )
    lost_after_s: float = setting(
        3.0,
        'An object becomes LOST when it has been unseen for this time.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=3600.0,
    )
    remove_lost_after_s: float = setting(
        120.0,
        'An object is removed when it has been LOST for this time; 0 = never. A LOST '
        'object still takes computing time and counts towards max_objects.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=86400.0,
    )
    existence_half_life_s: float = setting(
        1.0,
        'Half-life of existence_probability while an object is unseen.',
        unit='s',
        dynamic=True,
        gt=0.0,
        le=3600.0,
    )
    max_coverage: float = setting(
        0.95,
        'A mask that covers more than this share of the image is rejected, unless the '
        'prompt covered as much.',
        dynamic=True,
        ge=0.1,
        le=1.0,
    )
    duplicate_iou: float = setting(
        0.6,
        'If the masks of two objects overlap with at least this IoU, the one less similar '
        'to its object is suppressed; 1 = off.',
        dynamic=True,
        ge=0.1,
        le=1.0,
    )
    tree: TreeSettings = TreeSettings()
    memory: MemorySettings = MemorySettings()
    reacquire: ReacquireSettings = ReacquireSettings()
    guard: GuardSettings = GuardSettings()
    zoom: ZoomSettings = ZoomSettings()
    word_search: WordSearchSettings = WordSearchSettings()

    @classmethod
    def plain(cls) -> TrackerSettings:
        """Return settings equivalent to SAM 2: every frame enters memory, no mask is rejected."""
        memory = MemorySettings(
            min_confidence=0.0, min_quality=0.0, min_iou=0.0, exclusive=False,
            reset_mask_prior=False, anchors=0, modulation=0.0,
        )  # fmt: skip
        return cls(
            memory=memory, reacquire=ReacquireSettings(verify=False, redetect=False),
            guard=GuardSettings(enabled=False), zoom=ZoomSettings(enabled=False),
            duplicate_iou=1.0, visible_on=0.0, visible_off=0.0,
        )  # fmt: skip

    @pydantic.model_validator(mode='after')
    def _check_hysteresis(self) -> TrackerSettings:
        for low, high in (('visible_off', 'visible_on'), ('tracked_off', 'tracked_on')):
            off, on = getattr(self, low), getattr(self, high)
            if off > on:
                raise ValueError(f'{low} must be at most {high}, got {off} and {on}')
        return self
