"""What is said of the motion of things, and which motion it fits."""

from __future__ import annotations

from robust_vos_ros.data.motion_clips import (
    AWAY,
    CLOSER,
    DOWN,
    LEFT,
    RIGHT,
    STILL,
    TURNING,
    UP,
)

_TO_A_SIDE = (LEFT, RIGHT, UP, DOWN)
# Phrases by the kinds that they fit; {} is a verb of `_VERBS`.
_SIDES = {
    LEFT: ('{} left', '{} to the left', '{} leftwards', '{} towards the left'),
    RIGHT: ('{} right', '{} to the right', '{} rightwards', '{} towards the right'),
    UP: ('{} up', '{} upwards', 'rising', 'climbing up'),
    DOWN: ('{} down', '{} downwards', 'falling', 'descending'),
}
_VERBS = (
    'moving',
    'going',
    'walking',
    'running',
    'driving',
    'flying',
    'is moving',
    'moves',
    'goes',
)
_OTHERS = {
    STILL: (
        'standing still', 'stands still', 'not moving', 'is not moving', 'does not move',
        'staying', 'stays', 'staying still', 'stays still',
    ),
    CLOSER: (
        'coming closer', 'comes closer', 'approaching', 'coming towards the camera',
        'moving closer', 'getting closer', 'getting larger',
    ),
    AWAY: (
        'moving away', 'going away', 'goes away', 'moving away from the camera', 'getting smaller',
        'retreating',
    ),
    TURNING: ('turning', 'turns', 'rotating', 'spinning', 'turning around', 'is turning'),
}  # fmt: skip
_ANY = ('moving', 'moves', 'is moving')
# Not trained, to measure other words for the same.
UNSEEN_PHRASES = {
    LEFT: ('heading left', 'travelling to the left', 'drifting left', 'rolling to the left'),
    RIGHT: ('heading right', 'travelling to the right', 'drifting right', 'rolling to the right'),
    UP: ('heading up', 'running upward', 'drifting upwards'),
    DOWN: ('heading down', 'running downward', 'drifting downwards'),
    STILL: ('resting motionless', 'stopping', 'standing motionless'),
    CLOSER: ('heading towards us', 'coming nearer', 'walking towards the camera'),
    AWAY: ('heading away from us', 'driving away'),
    TURNING: ('spins', 'rotates'),
}


def phrases() -> dict[str, tuple[str, ...]]:
    """Return the phrases that are trained, with the kinds of motion that each one fits."""
    table = {
        form.format(verb): (kind,)
        for kind, forms in _SIDES.items()
        for form in forms
        for verb in _VERBS
    }
    table |= {phrase: (kind,) for kind, some in _OTHERS.items() for phrase in some}
    return table | dict.fromkeys(_ANY, _TO_A_SIDE)
