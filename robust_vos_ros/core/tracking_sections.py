"""Sections of the settings of tracking: memory, hypotheses, re-identification, zoom and words."""

from __future__ import annotations

from robust_vos_ros.core.settings import Settings, setting


class TreeSettings(Settings):
    """The memory tree of SAM2Long: several hypotheses per object; the best one is published."""

    max_hypotheses: int = setting(
        1,
        'Maximum number of memory hypotheses per object; 1 = one memory, as in SAM 2. '
        'SAM2Long uses 3; with nano, 3 took 1.2 times the time and did not score better '
        '(docs/long_tracking.md).',
        ge=1,
        le=8,
    )
    adaptive: bool = setting(
        True,
        'Keep several hypotheses only while frames are uncertain; false = always.',
        dynamic=True,
    )
    uncertain_score: float = setting(
        2.0,
        'A frame is uncertain if no hypothesis has an object score (logit) farther from '
        '0 than this: delta_conf of SAM2Long.',
        dynamic=True,
        ge=0.0,
        le=20.0,
    )


class MemorySettings(Settings):
    """The memory update policy: which frames enter the memory of an object."""

    min_confidence: float = setting(
        0.65,
        'Minimum confidence of a frame that enters memory, or 0.9 times the mean '
        'confidence of the object if that is lower. 0 = no limit, as in SAM 2. Keeps '
        'occluders out of the memory.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_quality: float = setting(
        0.65,
        'Minimum predicted IoU of a frame that enters memory, while the object has one '
        'hypothesis. Keeps badly shaped masks out of the memory.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_iou: float = setting(
        0.3,
        'Minimum predicted IoU of a frame that enters memory, in every hypothesis: '
        'delta_IoU of SAM2Long. 0 = no limit.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    exclusive: bool = setting(
        True,
        'Leave pixels that another object claims more strongly out of the memory of an object.',
        dynamic=True,
    )
    reset_mask_prior: bool = setting(
        True,
        'Do not use the mask of an unseen object as the mask prior of the next frame.',
        dynamic=True,
    )
    anchors: int = setting(
        2,
        'Number of anchor frames in memory, which show the object well beside a '
        'distractor. They replace recent frames; 0 = none.',
        ge=0,
        le=4,
    )
    modulation: float = setting(
        0.05,
        'Memory keys are scaled by 1 - modulation to 1 + modulation, in the order of '
        'their object scores, as in SAM2Long; 0 = off.',
        dynamic=True,
        ge=0.0,
        le=0.5,
    )


class ReacquireSettings(Settings):
    """How OCCLUDED and LOST objects are re-identified."""

    verify: bool = setting(
        True,
        'Show an OCCLUDED or LOST object again only if its mask is similar to the gallery '
        'of the object; false = do not compare.',
        dynamic=True,
    )
    min_similarity: float = setting(
        0.7,
        'Minimum similarity (cosine) between the appearance embedding of that mask and '
        'the gallery of the object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    learn_similarity: float = setting(
        0.8,
        'Minimum similarity (cosine) between a frame and a verified exemplar for the '
        'frame to enter the gallery. Verified exemplars are the prompted frames and '
        'frames up to 1.75 s after them.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    redetect: bool = setting(
        True,
        'Search the whole image for OCCLUDED and LOST objects by their appearance.',
        dynamic=True,
    )
    redetect_similarity: float = setting(
        0.75,
        'Minimum similarity (cosine) between a re-detected mask and the gallery of the object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    redetections_per_frame: int = setting(
        1,
        'Maximum number of objects searched for in one frame; they take turns. Each '
        'search costs about as much time as tracking one object.',
        dynamic=True,
        ge=1,
        le=64,
    )
    hold_s: float = setting(
        0.4,
        'An OCCLUDED or LOST object is shown again once its mask has matched its appearance '
        'for this time; time in which it did not is subtracted. This rejects distractors, '
        'which match in single frames.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )


class GuardSettings(Settings):
    """Rejection of masks that no longer show the prompted object, whatever their confidence."""

    enabled: bool = setting(
        True,
        'Compare every mask with the prompt. A mask of very different size or appearance '
        'counts as changed: it is UNCERTAIN, does not enter memory and is not the mask '
        'prior of the next frame. false = off.',
        dynamic=True,
    )
    max_growth: float = setting(
        2.5,
        'A mask counts as changed if its area is more than this times the expected area, '
        'which starts at that of the prompt and follows slowly.',
        dynamic=True,
        ge=1.1,
        le=100.0,
    )
    confirm_similarity: float = setting(
        0.88,
        'With at least this similarity (cosine) to a verified exemplar, a mask may grow '
        'to 8 times its prompted area.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_similarity: float = setting(
        0.3,
        'With less than this similarity (cosine) to the verified exemplars, a mask '
        'counts as changed, whatever its size.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    max_confidence: float = setting(
        0.25,
        'Maximum confidence of a mask that counts as changed.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )


class ZoomSettings(Settings):
    """A window around small objects that the network gets instead of the whole image."""

    enabled: bool = setting(
        True,
        'While all objects are visible, small and near each other, give the network a '
        'window around them instead of the whole image.',
    )
    max_factor: float = setting(
        3.0,
        'Maximum enlargement: side of the image divided by side of the window.',
        ge=1.5,
        le=8.0,
    )
    min_side: int = setting(
        128,
        'Minimum side of the window, in pixels of the camera image.',
        unit='px',
        dynamic=True,
        ge=32,
        le=4096,
    )
    context: float = setting(
        2.0,
        'Side of the window divided by side of the box around all objects.',
        dynamic=True,
        ge=1.5,
        le=10.0,
    )
    buffer_mb: int = setting(
        64,
        'Maximum memory for the prompted frames, which are encoded again when the window '
        'moves. If it does not suffice, the network gets the whole image.',
        unit='MB',
        ge=1,
        le=16384,
    )


class WordSearchSettings(Settings):
    """Searches for things by words."""

    correct_memory: bool = setting(
        False,
        'Whether words correct the memory of visible objects that have words: where they see a '
        'better match, its mask is blended into what memory stores (conditional memory encoder of '
        'SAMWISE). Costs a search per interval_s and object.',
        dynamic=True,
    )

    min_confidence: float = setting(
        0.3,
        'Minimum probability that a match is the thing and its mask has an IoU above 0.5.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    interval_s: float = setting(
        0.25,
        'A lasting search, and one for an unseen object that has words, looks at most this often.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=60.0,
    )
