"""Expressions for things in a labelled picture: class, colour, place, size, relation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

# Other words for the class names of the data sets; the first of a row is the one that is kept.
SYNONYMS: tuple[tuple[str, ...], ...] = (
    ('person', 'human', 'man', 'woman', 'somebody'),
    ('car', 'automobile', 'vehicle'),
    ('motorcycle', 'motorbike'),
    ('bicycle', 'bike', 'cycle'),
    ('airplane', 'aeroplane', 'plane', 'aircraft'),
    ('tv', 'tvmonitor', 'television', 'monitor', 'screen'),
    ('couch', 'sofa'),
    ('cup', 'mug'),
    ('potted plant', 'pottedplant', 'plant'),
    ('dining table', 'diningtable', 'table'),
    ('dog', 'puppy'),
    ('cat', 'kitten'),
    ('horse', 'pony'),
    ('refrigerator', 'fridge'),
    ('donut', 'doughnut'),
    ('cell phone', 'mobile phone'),
    ('remote', 'remote control'),
    ('mouse', 'computer mouse'),
    ('sports ball', 'ball'),
    ('handbag', 'hand bag'),
    ('rhino', 'rhinoceros'),
    ('hair drier', 'hair dryer'),
    ('pants', 'trousers'),
    ('t-shirt', 'tee shirt'),
    ('boat', 'ship'),
    ('glasses', 'spectacles'),
)  # fmt: skip
# Names that label something, but are no words for it.
NO_WORDS = frozenset({'null', 'accessories', 'top', 'flats', 'pumps', 'wedges', 'heels'})
_CANONICAL = {word: row[0] for row in SYNONYMS for word in row}
_OTHERS = {row[0]: row for row in SYNONYMS}
_MIN_CELLS = 0.003  # smallest share of the picture for which an expression is made
# Hue in OpenCV's half degrees at which a colour ends.
_HUES = ((8, 'red'), (22, 'orange'), (34, 'yellow'), (85, 'green'), (130, 'blue'), (165, 'purple'))


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """An expression and the things of a picture that it fits.

    Attributes:
        text: The expression.
        kind: class, colour, place, size or relation.
        ids: Ids of the things, one or more.
    """

    text: str
    kind: str
    ids: tuple[int, ...]


def canonical(name: str) -> str:
    """Return the one word that stands for a class name and its synonyms."""
    return _CANONICAL.get(name, name)


def other_words(word: str) -> tuple[str, ...]:
    """Return the words for a class, itself first."""
    return _OTHERS.get(word, (word,))


def things(labels: np.ndarray, names: Mapping[int, str]) -> dict[int, str]:
    """Return the canonical word by id of each thing that is named and not tiny.

    Args:
        labels: (H, W) uint8 ids, 0 = none.
        names: Class name by id.
    """
    ids, counts = np.unique(labels, return_counts=True)
    large = {int(k) for k, n in zip(ids, counts, strict=True) if n >= _MIN_CELLS * labels.size}
    return {
        number: canonical(name)
        for number, name in names.items()
        if number in large and name not in NO_WORDS
    }


def describe(
    labels: np.ndarray, rgb: np.ndarray, found: Mapping[int, str], number: int
) -> list[Said]:
    """Return expressions for one thing of a picture.

    Args:
        labels: (H, W) uint8 ids.
        rgb: (h, w, 3) uint8, the picture at any size.
        found: From `things`.
        number: Id of the thing.
    """
    word = found[number]
    same = tuple(k for k, other in found.items() if other == word)
    said = [Said(word, 'class', same)]
    alone = len(same) == 1
    shade = _colour(labels == number, rgb)
    if shade and all(k == number or _colour(labels == k, rgb) != shade for k in same):
        said.append(Said(f'{shade} {word}', 'colour', (number,)))
    centres = {k: _centre(labels == k) for k in found}
    x, _ = centres[number]
    if alone or all(k == number or abs(centres[k][0] - x) > 0.15 for k in same):
        xs = [centres[k][0] for k in same]
        if x < 0.4 and x <= min(xs):
            said.append(Said(f'{word} on the left', 'place', (number,)))
        elif x > 0.6 and x >= max(xs):
            said.append(Said(f'{word} on the right', 'place', (number,)))
        elif 0.4 <= x <= 0.6:
            said.append(Said(f'{word} in the middle', 'place', (number,)))
    if not alone:
        areas = {k: int((labels == k).sum()) for k in same}
        rest = [area for k, area in areas.items() if k != number]
        if areas[number] > 1.4 * max(rest):
            said.append(Said(f'largest {word}', 'size', (number,)))
        elif areas[number] * 1.4 < min(rest):
            said.append(Said(f'smallest {word}', 'size', (number,)))
    said += _relations(found, centres, same, number)
    return said


def _relations(
    found: Mapping[int, str],
    centres: Mapping[int, tuple[float, float]],
    same: Sequence[int],
    number: int,
) -> list[Said]:
    others = {k: w for k, w in found.items() if w != found[number]}
    if not others:
        return []
    near = min(others, key=lambda k: math.dist(centres[k], centres[number]))
    close = min(same, key=lambda k: math.dist(centres[k], centres[near]))
    unique = sum(w == found[near] for w in others.values()) == 1
    if close != number or not unique or math.dist(centres[near], centres[number]) > 0.35:
        return []
    return [Said(f'{found[number]} next to the {found[near]}', 'relation', (number,))]


def _centre(mask: np.ndarray) -> tuple[float, float]:
    """Return the mean (x, y) as shares of the picture."""
    ys, xs = np.nonzero(mask)
    return float(xs.mean() + 0.5) / mask.shape[1], float(ys.mean() + 0.5) / mask.shape[0]


def _colour(mask: np.ndarray, rgb: np.ndarray) -> str:
    """Return the name of the colour of most of a mask; empty if there is none."""
    size = (rgb.shape[1], rgb.shape[0])
    here = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    if not here.any():
        return ''
    hue, saturation, value = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[here].astype(float).T
    if np.median(saturation) < 45:
        light = np.median(value)
        return 'white' if light > 190 else 'black' if light < 60 else 'grey'
    if np.median(value) < 50:
        return 'black'
    names = [next((name for end, name in _HUES if h < end), 'red') for h in hue]
    best = max(set(names), key=names.count)
    return best if names.count(best) > 0.6 * len(names) else ''
