"""Looks of objects, on features of real shape."""

import math

import torch

from robust_vos_ros.core.prototypes import Prototypes, appearance

DIM, SIDE = 8, 16
GREY = torch.full((64, 64, 3), 128, dtype=torch.uint8)


def paint(seed, where):
    """Noise everywhere; a box per (direction, y, x) of 4 x 4 cells with that feature."""
    generator = torch.Generator().manual_seed(seed)
    pix = 0.3 * torch.randn(1, DIM, SIDE, SIDE, generator=generator)
    for direction, y, x in where:
        pix[0, direction, y : y + 4, x : x + 4] += 4.0
    return appearance(pix, GREY)


def box(y, x):
    logits = torch.full((64, 64), -5.0)
    logits[4 * y : 4 * y + 16, 4 * x : 4 * x + 16] = 5.0
    return logits


def alike(looks, slot, pix, mask):
    return float(looks.similarity(torch.tensor([slot]), pix, mask[None]))


def test_an_object_looks_like_itself_and_not_like_another():
    looks = Prototypes(3, DIM, torch.device('cpu'))
    for seed in range(6):
        looks.learn(1, paint(seed, [(0, 2 + seed, 3), (1, 10, 10)]), box(2 + seed, 3))
    later = paint(99, [(0, 1, 12), (1, 9, 1)])
    assert alike(looks, 1, later, box(1, 12)) > 0.8
    assert alike(looks, 1, later, box(9, 1)) < 0.3
    assert alike(looks, 1, later, box(12, 12)) < 0.3  # background


def test_what_was_forgotten_or_never_learned_says_nothing():
    looks = Prototypes(2, DIM, torch.device('cpu'))
    pix = paint(0, [(0, 2, 2)])
    assert math.isnan(alike(looks, 0, pix, box(2, 2)))
    looks.learn(0, pix, box(2, 2))
    assert not math.isnan(alike(looks, 0, pix, box(2, 2)))
    assert math.isnan(alike(looks, 0, pix, torch.full((64, 64), -1.0)))  # empty mask
    looks.clear(0)
    assert math.isnan(alike(looks, 0, pix, box(2, 2)))


def test_an_object_smaller_than_a_cell_can_be_learned_and_memory_is_bounded():
    looks = Prototypes(1, DIM, torch.device('cpu'))
    tiny = torch.full((64, 64), -5.0)
    tiny[9, 9] = 5.0
    for seed in range(300):
        looks.learn(0, paint(seed, [(2, 1, 1)]), tiny)
    assert looks.samples.shape[1] == 256
    assert torch.isfinite(looks.centers).all()


def test_things_of_equal_features_are_told_apart_by_their_colour():
    looks = Prototypes(1, DIM, torch.device('cpu'))
    image = GREY.clone()
    image[16:32, 16:32] = torch.tensor([230, 40, 40], dtype=torch.uint8)  # red
    image[16:32, 40:56] = torch.tensor([40, 60, 230], dtype=torch.uint8)  # blue
    generator = torch.Generator().manual_seed(0)
    cells = appearance(torch.randn(1, DIM, SIDE, SIDE, generator=generator), image)
    looks.learn(0, cells, box(4, 4))
    darker = appearance(torch.randn(1, DIM, SIDE, SIDE, generator=generator), image // 2)
    assert alike(looks, 0, darker, box(4, 4)) > alike(looks, 0, darker, box(4, 10)) + 0.3
