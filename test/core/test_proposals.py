"""Where an object may be, on planes of real shape."""

import pytest
import torch

from robust_vos_ros.core.reid.appearance import AppearanceEmbedder, Gallery
from robust_vos_ros.core.reid.redetection import propose_box

C, SIDE = 32, 64
COVERAGE = 16 * 16 / SIDE**2


def planes(seed, y=None, x=None):
    """Noise; a thing of 16 x 16 cells if a place is given."""
    generator = torch.Generator().manual_seed(seed)
    made = 0.3 * torch.randn(C // 8 + C // 4 + 3, SIDE, SIDE, generator=generator)
    if y is not None:
        made[0, y : y + 16, x : x + 16] += 4.0
        made[-1, y : y + 16, x : x + 16] += 0.5
    return made - made.mean(dim=(1, 2), keepdim=True)


@pytest.fixture
def known():
    embeddings = AppearanceEmbedder(C, torch.device('cpu'), None)
    gallery = Gallery(2, embeddings.dim, torch.device('cpu'))
    mask = torch.full((1, SIDE, SIDE), -5.0)
    mask[0, 4:20, 8:24] = 5.0
    for seed in range(4):
        gallery.learn(1, embeddings.embed_masks(planes(seed, 4, 8), mask)[0])
    return embeddings, gallery


def guess(known, image, *, slot=1, coverage=COVERAGE, taken=None, least=0.75):
    taken = torch.zeros(SIDE, SIDE, dtype=torch.bool) if taken is None else taken
    return propose_box(*known, slot, image, coverage=coverage, taken=taken, min_similarity=least)


def test_an_object_is_found_at_another_place(known):
    left, top, right, bottom = (SIDE * value for value in guess(known, planes(9, 30, 40)))
    assert abs((left + right) / 2 - 48) < 7
    assert abs((top + bottom) / 2 - 38) < 7
    assert 10 < right - left < 24


@pytest.mark.parametrize(
    ('image', 'changes'),
    [
        (planes(9), {}),  # it is not there
        (planes(9, 30, 40), {'slot': 0}),  # nothing is known of this one
        (planes(9, 30, 40), {'coverage': 0.0}),
        (planes(9, 30, 40), {'taken': torch.ones(SIDE, SIDE, dtype=torch.bool)}),
    ],
)
def test_nothing_is_found(known, image, changes):
    assert guess(known, image, **changes) is None


def test_a_box_stays_within_the_image(known):
    assert all(0.0 <= value <= 1.0 for value in guess(known, planes(9, 0, 48)))
