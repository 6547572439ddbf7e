"""Which words of an expression say how a thing moves.

A lexicon: taggers that install offline are larger than the rest of the words. Regular forms are
made from stems, irregular ones are listed.
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
