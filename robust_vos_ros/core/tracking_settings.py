"""Settings of tracking: memory, its tree and gate, what is believed and when an object is lost."""

from __future__ import annotations

import pydantic

from robust_vos_ros.core.settings import Settings, setting


class TreeSettings(Settings):
    """The memory tree of SAM2Long: several pathways per object, the best one is published."""

    pathways: int = setting(
        1,
        'Most pathways per object; 1 = each frame decides alone. SAM2Long has 3: with nano they '
        'took 1.2 times the time and brought nothing (docs/long_tracking.md).',
        ge=1,
        le=8,
    )
    lag_frames: int = setting(
        0,
        'Publish each frame this many processed frames later, with the masks of the pathway that '
        'is the best one then; 0 = at once.',
        ge=0,
        le=30,
    )
    adaptive: bool = setting(
        True,
        'Have one pathway while all is clear and more only while uncertain; false = always all.',
        dynamic=True,
    )
    uncertain_score: float = setting(
        2.0,
        'A frame is uncertain where no object score (logit) of a pathway is further from 0: '
        'delta_conf of SAM2Long.',
        dynamic=True,
        ge=0.0,
        le=20.0,
    )
    uncertain_iou: float = setting(
        0.3,
        'It is also uncertain where no mask of a visible object has this predicted IoU.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    merge_iou: float = setting(
        0.8,
        'Pathways whose masks agree to this IoU with a better one are given up once a frame is '
        'certain.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    max_score_gap: float = setting(
        3.0,
        'A pathway this far behind the best one, in cumulative log IoU, is given up.',
        dynamic=True,
        gt=0.0,
        le=100.0,
    )


class GateSettings(Settings):
    """Which frames enter the memory of an object."""

    min_confidence: float = setting(
        0.65,
        'Only frames of this confidence or more; 0 = no gate, as SAM 2 does. Keeps what is seen '
        'during an occlusion from being taken for the object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    relative: float = setting(
        0.9,
        'Where an object never gets that far, this share of its usual confidence will do.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_quality: float = setting(
        0.65,
        'Only frames of this predicted IoU while an object has one pathway: in noise, masks that '
        'are right but poor spoil the memory.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    min_iou: float = setting(
        0.3,
        'Only frames of this predicted IoU, in every pathway: delta_IoU of SAM2Long.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    area_jump_hold_s: float = setting(
        0.3,
        'After a jump of the mask area nothing enters memory for this long; a new size that '
        'stays is then believed.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )
    exclusive: bool = setting(
        True,
        'Pixels that another object claims more strongly do not enter the memory of an object.',
        dynamic=True,
    )
    blank_unseen: bool = setting(
        True,
        'The mask of an object that counts as unseen does not guide the next frame.',
        dynamic=True,
    )
    anchors: int = setting(
        2,
        'Frames kept for long because a look-alike was in view and the mask was good, in place of '
        'recent ones; 0 = none.',
        ge=0,
        le=4,
    )
    anchor_min_iou: float = setting(
        0.8, 'Least predicted IoU of an anchor.', dynamic=True, ge=0.0, le=1.0
    )
    anchor_max_agreement: float = setting(
        0.7,
        'A look-alike is in view where the box of the mask and the box of mask and alternative '
        'agree to this IoU at most.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    anchor_interval_s: float = setting(
        0.5, 'Least time between anchors of an object.', unit='s', dynamic=True, ge=0.0, le=60.0
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
        'Least likeness (cosine) to a prototype of the object.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    learn_similarity: float = setting(
        0.8,
        'How an object looks is learned only from frames that look this much (cosine) like a '
        'prompted one, or one just after that: else what a mask slid to would be learned.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    search: bool = setting(
        True,
        'Look for objects out of sight in the whole image, by what they look like.',
        dynamic=True,
    )
    search_similarity: float = setting(
        0.75,
        'Least likeness (cosine) of what a search finds.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    search_every_s: float = setting(
        0.1,
        'Time from one look at the whole image to the next.',
        unit='s',
        dynamic=True,
        ge=0.0,
        le=10.0,
    )
    searches_per_frame: int = setting(
        1,
        'Objects out of sight that a frame is searched for at most; they take turns, the one '
        'longest not searched for first. Each costs about as much as following one object.',
        dynamic=True,
        ge=1,
        le=64,
    )
    hold_s: float = setting(
        0.4,
        'An OCCLUDED or LOST object is back when what is found has looked like it for this long, '
        'less the time in which it has not: a look-alike does now and then.',
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
    max_extent: float = setting(
        2.0,
        'The same for how far its pixels are spread (radius of gyration).',
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
    most_growth: float = setting(
        8.0,
        'But to this times the area of the prompt at most.',
        dynamic=True,
        ge=1.1,
        le=10000.0,
    )
    min_similarity: float = setting(
        0.3,
        'A mask that looks less like a prompted frame (cosine) is something else, whatever its '
        'size.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    follow_s: float = setting(
        2.0,
        'Time in which the expected size follows that of the mask: what comes nearer by a fifth '
        'of its distance in a second is followed.',
        unit='s',
        dynamic=True,
        gt=0.0,
        le=3600.0,
    )
    max_confidence: float = setting(
        0.25,
        'Most confidence of a mask that has become something else.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    max_misfit: float = setting(
        0.25,
        'The answer to a prompt warns where more than this share of the mask was outside of its '
        'box, or of the clicks is contradicted.',
        dynamic=True,
        ge=0.0,
        le=1.0,
    )
    small_prompt: float = setting(
        0.003,
        'It also warns of a mask of less than this share of the image: things that small are '
        'seldom followed for long (docs/nano.md has a table).',
        dynamic=True,
        ge=0.0,
        le=1.0,
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
    area_jump_ratio: float = setting(
        3.0,
        'Growth or shrinkage of the mask area from frame to frame that raises AREA_JUMP.',
        dynamic=True,
        ge=1.1,
        le=100.0,
    )
    tree: TreeSettings = TreeSettings()
    gate: GateSettings = GateSettings()
    reacquire: ReacquireSettings = ReacquireSettings()
    guard: GuardSettings = GuardSettings()

    def online(self) -> TrackerSettings:
        """Return these settings for a user that takes every result at once: without lag."""
        return self.model_copy(update={'tree': self.tree.model_copy(update={'lag_frames': 0})})

    @classmethod
    def plain(cls) -> TrackerSettings:
        """Return the settings of SAM 2: every frame is remembered, each mask is believed."""
        gate = GateSettings(
            min_confidence=0.0, min_quality=0.0, min_iou=0.0, exclusive=False,
            blank_unseen=False, anchors=0, modulation=0.0,
        )  # fmt: skip
        tree, reacquire = TreeSettings(pathways=1), ReacquireSettings(verify=False, search=False)
        return cls(
            gate=gate, tree=tree, reacquire=reacquire, guard=GuardSettings(enabled=False),
            duplicate_iou=1.0, visible_on=0.0, visible_off=0.0,
        )  # fmt: skip

    @pydantic.model_validator(mode='after')
    def _check_hysteresis(self) -> TrackerSettings:
        for low, high in (('visible_off', 'visible_on'), ('tracked_off', 'tracked_on')):
            off, on = getattr(self, low), getattr(self, high)
            if off > on:
                raise ValueError(f'{low} must be at most {high}, got {off} and {on}')
        return self
