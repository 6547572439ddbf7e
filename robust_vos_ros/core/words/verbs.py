"""Verbs of expressions: where they are, and what is said of the motion of a thing.

A lexicon of verbs: taggers that install offline are larger than the rest of the words. Regular
forms are made from stems, irregular ones are listed.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")

_STEMS = """
approach arrive balance bark bend bounce brake carry catch change chase clap climb close cook crawl
cross cut dance dive drag drift drop drum enter escape exit fall flap flip float fold follow glide
grab hang hide hike hop hug hurdle jog juggle jump kick kiss kneel lean leap lift look march move
nod open overtake paddle park pass pause pedal pick play point pour pull punch push race raise
reach retreat return roll rotate row sail scratch shake shrink skate ski slide slow sniff spin
splash stay step stir stop stroll surf swap swirl tilt toss touch travel trot tumble turn twirl
twist vanish wade wag wait walk wander wave wobble work yawn zoom
"""
_IRREGULAR = """
ate bit blew came drank driven drove eat eaten eating eats feed fed feeding feeds fell flew flies
flown fly flying gave give gives giving go goes going gone grew grow growing grown held hid hidden
hit hits hitting hold holding holds hung kept knelt lay laying leapt leave leaves leaving lie lies
lying ran ridden ride rides riding rode run running runs sat sit sits sitting sleep sleeping sleeps
slept slid spun stand standing stands stood swam sweep sweeping swept swim swimming swims swing
swinging swings swum swung throw throwing thrown throws threw went write writing written drive
drives driving drink drinking drinks fight fighting bite biting blow blowing
"""
# Nouns and adjectives far more often than verbs in "the ... thing".
_DOUBTFUL = """
park parks point points play plays row work works drum drums fold look looks race wave waves fly
flies leaves lies ride swing cook pass change close open slow step steps
"""


def _forms(stem: str) -> set[str]:
    """Return the regular forms of a verb: -s, -ing, -ed, with e dropped or consonant doubled."""
    if stem.endswith('e'):
        return {stem, f'{stem}s', f'{stem[:-1]}ing', f'{stem}d'}
    plural = f'{stem}es' if stem.endswith(('s', 'sh', 'ch', 'x')) else f'{stem}s'
    base = stem + stem[-1]
    return {stem, plural, f'{stem}ing', f'{stem}ed', f'{base}ing', f'{base}ed'}


_VERBS = frozenset(_WORD.findall(_IRREGULAR)).union(*map(_forms, _WORD.findall(_STEMS)))
_NOT_ALONE = frozenset(_WORD.findall(_DOUBTFUL))

# Verbs of motion; those of gait and pose say one only with a word of `_HOW`: "running left".
_MOTION_STEMS = """
approach descend move retreat rotate spin stay stop turn
"""
_MOTION_IRREGULAR = """
come comes coming fall falls falling go goes going rise rises rising
"""
_GAIT_STEMS = """
climb drift drive glide head jog march race rest roll travel walk wander
"""
_GAIT_IRREGULAR = """
fly flies flying get gets getting run runs running stand stands standing swim swims swimming
"""
_HOW = """
across ahead along around away back backward backwards by camera clockwise close closer down
downward downwards fast forward forwards from further in into larger left leftward leftwards
motionless near nearer off on out over past quickly right rightward rightwards round sideways side
slowly smaller still straight the to top toward towards up upright upward upwards us view image
bottom picture
"""
_SAYS = r"(?:(?:is|are|does|do|not|isn't|doesn't|don't|keeps) )"


def _phrase(ending: str, least: str = '*') -> str:
    """Return the pattern of what is said of a motion.

    Args:
        ending: Pattern of the ending of verbs.
        least: How many words of `_HOW` follow a verb of motion, as in a pattern.
    """
    parts = []
    for stems, others, often in (
        (_MOTION_STEMS, _MOTION_IRREGULAR, least),
        (_GAIT_STEMS, _GAIT_IRREGULAR, '+'),
    ):
        forms = set(_WORD.findall(others)).union(*map(_forms, _WORD.findall(stems)))
        verbs = '|'.join(sorted(form for form in forms if re.search(f'{ending}$', form)))
        parts.append(f'(?:{verbs})(?: (?:{"|".join(_WORD.findall(_HOW))})){often}')
    return f'(?:{"|".join(parts)})$'


# "the dog that moves", "... is moving", "... moving", "... moves left", "the moving dog".
_THING = '^(?P<thing>.*?[a-z]),?'
_MOTIONS = (
    re.compile(f'{_THING} (?:that|which|who) (?P<motion>{_SAYS}*{_phrase("")})'),
    re.compile(f'{_THING} (?P<motion>{_SAYS}+{_phrase("")})'),
    re.compile(f'{_THING} (?P<motion>{_phrase("ing")})'),
    re.compile(f'{_THING} (?P<motion>{_phrase("s", "+")})'),
    re.compile(
        r'^(?P<article>(?:an?|the) )?(?P<motion>moving|turning|approaching) (?P<thing>.+)$'
    ),
)
_NO_THINGS = frozenset({'a', 'an', 'the', *_WORD.findall(_HOW)})
_ANY_THING = re.compile(
    r'(?:(?:an?|the|any|some) )?(?:thing|object|something|anything|one|it|item)s?'
)


def find_verbs(text: str) -> list[tuple[int, int]]:
    """Return the spans (start, end) of verbs in a lower-case expression.

    A word that is as often a noun counts only after "that", "who", "which", "to" or "is".
    """
    found = []
    before = ''
    for match in _WORD.finditer(text):
        word = match.group()
        doubtful = word in _NOT_ALONE and before not in {'that', 'which', 'who', 'to', 'is'}
        if word in _VERBS and not doubtful:
            found.append(match.span())
        before = word
    return found


def split_motion(text: str) -> tuple[str, str]:
    """Split a lower-case expression into a thing and what is said of its motion.

    "the dog that is moving left" gives "the dog" and "is moving left". The second is empty if the
    expression says nothing of a motion, or of one that can be seen in a single image: "the woman
    holding a cup".
    """
    for pattern in _MOTIONS:
        match = pattern.match(text)
        if match and not _NO_THINGS.issuperset(match['thing'].split()):
            article = match.groupdict().get('article') or ''
            return article + match['thing'], match['motion']
    return text, ''


def is_any_thing(thing: str) -> bool:
    """Tell whether what `split_motion` returned names no kind of thing: "the thing"."""
    return _ANY_THING.fullmatch(thing) is not None
