"""Settings of tracking: memory and its hypotheses, confidence, and when an object is lost."""

from __future__ import annotations

import pydantic

from robust_vos_ros.core.settings import Settings, setting


class TreeSettings(Settings):
    """The memory tree of SAM2Long: several hypotheses per object; the best one is published."""

    max_hypotheses: int = setting(
        1,
        'Most hypotheses per object; 1 = each frame decides alone. SAM2Long has 3: with nano '
        'they took 1.2 times the time and brought nothing (docs/long_tracking.md).',
        ge=1,
        le=8,
    )
    adaptive: bool = setting(
        True,
        'Keep one hypothesis while a frame is certain and more only while it is not; false = '
        'always all.',
        dynamic=True,
    )
    uncertain_score: float = setting(
        2.0,
        'A frame is uncertain where no object score (logit) of a hypothesis is further from 0: '
        'delta_conf of SAM2Long.',
        dynamic=True,
        ge=0.0,
        le=20.0,
    )


class MemorySettings(Settings):
    """Which frames enter the memory of an object."""

    min_confidence: float = setting(
        0.65,
        'Only frames of this confidence or more; 0 = no gate, as SAM 2 does. Keeps what is seen '
        'during an occlusion from being taken for the object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_quality: float = setting(
        0.65,
        'Only frames of this predicted IoU while an object has one hypothesis: in noise, masks '
        'of correct objects but poor shape would degrade the memory.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_iou: float = setting(
        0.3,
        'Only frames of this predicted IoU, in every hypothesis: delta_IoU of SAM2Long.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    exclusive: bool = setting(
        True,
        'Pixels that another object claims more strongly do not enter the memory of an object.',
        dynamic=True,
    )
    reset_mask_prior: bool = setting(
        True,
        'Reset the mask prior of an unseen object: its mask does not guide the next frame.',
        dynamic=True,
    )
    anchors: int = setting(
        2,
        'Frames kept for long because a look-alike was in view and the mask was good, in place of '
        'recent ones; 0 = none.',
        ge=0,
        le=4,
    )
    modulation: float = setting(
        0.05,
        'Keys of memory are scaled by 1 - this to 1 + this, in the order of object scores; 0 = '
        'not at all.',
        dynamic=True,
        ge=0.0,
        le=0.5,
    )


class ReacquireSettings(Settings):
    """How an object that was gone is found again."""

    verify: bool = setting(
        True,
        'An OCCLUDED or LOST object stays so until what is found looks like it; false = believe '
        'the mask.',
        dynamic=True,
    )
    min_similarity: float = setting(
        0.7,
        'Least similarity (cosine) of an appearance embedding to the gallery of the object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    learn_similarity: float = setting(
        0.8,
        'A frame enters the gallery of an object only at this similarity (cosine) to a verified '
        'exemplar (a prompted frame, or one just after it): otherwise a mask that slid to '
        'another thing would add that thing.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    redetect: bool = setting(
        True,
        'Re-detect OCCLUDED and LOST objects in the whole image by their appearance.',
        dynamic=True,
    )
    redetect_similarity: float = setting(
        0.75,
        'Least similarity (cosine) of a re-detected object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    redetections_per_frame: int = setting(
        1,
        'Most objects re-detected in one frame; they take turns, the one that has waited longest '
        'first. Each costs about as much as tracking one object.',
        dynamic=True,
        ge=1,
        le=64,
    )
    hold_s: float = setting(
        0.4,
        'An OCCLUDED or LOST object is back when the found mask has been similar to it for this '
        'long, less the time in which it was not: a look-alike is similar in single frames.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )


class GuardSettings(Settings):
    """What keeps a mask that became something else from being believed, whatever the fit says."""

    enabled: bool = setting(
        True,
        'Hold masks against the prompt: one of quite another size or look is UNCERTAIN, enters '
        'no memory and does not guide the next frame; false = believe the network.',
        dynamic=True,
    )
    max_growth: float = setting(
        2.5,
        'A mask of more than this times the expected area has become something else, unless it '
        'looks like the prompt.',
        dynamic=True,
        ge=1.1,
        le=100.0,
    )
    confirm_similarity: float = setting(
        0.88,
        'A mask that looks this much (cosine) like a prompted frame, or one just after that, may '
        'grow beyond these.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_similarity: float = setting(
        0.3,
        'A mask that looks less like a prompted frame (cosine) is something else, whatever its '
        'size.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    max_confidence: float = setting(
        0.25,
        'Most confidence of a mask that has become something else.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )


class ZoomSettings(Settings):
    """A window around small objects, which the network sees in place of the whole image."""

    enabled: bool = setting(
        False,
        'While all objects are in view, small and near each other, let the network see a window '
        'around them, in which they are larger.',
    )
    max_factor: float = setting(
        3.0, 'How much larger things may get, as sides of the image to the window.', ge=1.5, le=8.0
    )
    min_side: int = setting(
        128,
        'No window has a shorter side: what is enlarged from less shows no more.',
        unit='px',
        dynamic=True,
        ge=32,
        le=4096,
    )
    context: float = setting(
        3.0,
        'Side of the window to that of the box around all objects.',
        dynamic=True,
        ge=1.5,
        le=10.0,
    )
    buffer_mb: int = setting(
        64,
        'Most memory for the frames of prompts, from which memory is made again when the window '
        'moves; what was prompted in frames beyond that is seen in the whole image.',
        unit='MB',
        ge=1,
        le=16384,
    )


class TrackerSettings(Settings):
    """How objects are remembered and judged."""

    max_objects: int = setting(16, 'Objects tracked at the same time.', ge=1, le=64)
    max_prompted_entries: int = setting(
        4, 'Prompted frames remembered per object: the first and the newest ones.', ge=1, le=16
    )
    prompt_buffer_s: float = setting(
        2.0,
        'How far back in time a prompt may be applied, as far as prompt_buffer_mb reaches.',
        unit='s',
        ge=0.0,
        le=30.0,
    )
    prompt_buffer_mb: int = setting(
        256,
        'Most memory for the frames of that time, as the model sees them: 0.2 MB each at 256 px, '
        '3.1 MB at 1024 px. 256 MB are 2 s of 640 or of 40 frames per second.',
        unit='MB',
        ge=0,
        le=16384,
    )
    visible_on: float = setting(
        0.8,
        'An unseen object counts as visible again at this probability that the mask is on it.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    visible_off: float = setting(
        0.6,
        'A visible object counts as unseen, and has no mask, below this probability; at most '
        'visible_on.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    tracked_on: float = setting(
        0.6, 'An object becomes TRACKED at this confidence.', dynamic=True, ge=0.0, le=1.0
    )
    tracked_off: float = setting(
        0.45,
        'A TRACKED object becomes UNCERTAIN below this confidence; at most tracked_on.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    confirm_after_s: float = setting(
        0.2,
        'An object stays INITIALIZING at least this long after its prompt.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )
    occluded_after_s: float = setting(
        0.15,
        'An object unseen for this long becomes OCCLUDED; until then it is UNCERTAIN.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )
    lost_after_s: float = setting(
        3.0,
        'An object unseen for this long becomes LOST.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=3600.0,
    )
    remove_lost_after_s: float = setting(
        120.0,
        'An object LOST for this long is removed; 0 = never. Each one kept takes the time of a '
        'tracked one and a place of max_objects, and after two minutes away a robot mostly sees '
        'another scene, in which what comes back is more often a look-alike.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=86400.0,
    )
    existence_half_life_s: float = setting(
        1.0,
        'While an object is unseen, the probability that it is still there halves in this time.',
        unit='s',
        dynamic=True,
        gt=0.0,
        le=3600.0,
    )
    max_coverage: float = setting(
        0.95,
        'A mask covering more than this share of the image is vetoed as a failure, unless '
        'the prompt covered as much.',
        dynamic=True,
        ge=0.1,
        le=1.0,
    )
    duplicate_iou: float = setting(
        0.6,
        'Of two objects whose masks agree to this IoU, the one that looks less like itself counts '
        'as hidden; 1 = both are believed.',
        dynamic=True,
        ge=0.1,
        le=1.0,
    )
    tree: TreeSettings = TreeSettings()
    memory: MemorySettings = MemorySettings()
    reacquire: ReacquireSettings = ReacquireSettings()
    guard: GuardSettings = GuardSettings()
    zoom: ZoomSettings = ZoomSettings()

    @classmethod
    def plain(cls) -> TrackerSettings:
        """Return the settings of SAM 2: every frame is remembered, each mask is believed."""
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
