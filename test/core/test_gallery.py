"""Prototypes of objects in the space of their looks."""

import math

import pytest
import torch

from robust_vos_ros.core.reid.appearance import Gallery

DIM = 10


def embedding(direction, other=None, share=0.0):
    vector = torch.zeros(DIM)
    vector[direction] = 1.0 - share
    if other is not None:
        vector[other] = share
    return vector / vector.norm()


def compare(gallery, slot, vector, live=(0, 1, 2), alike_in_size=(0, 1, 2)):
    rivals = torch.tensor(list(live))
    could_be = torch.tensor([[rival in alike_in_size for rival in live]])
    found = gallery.compare(torch.tensor([slot]), vector[None], rivals, could_be)
    return float(found.similarity[0]), float(found.similarity_margin[0])


@pytest.fixture
def known():
    gallery = Gallery(3, DIM, torch.device('cpu'))
    gallery.learn(1, embedding(0))
    gallery.learn(1, embedding(1))  # from behind
    return gallery


def test_an_object_is_as_alike_as_to_its_most_alike_view(known):
    assert compare(known, 1, embedding(0))[0] == pytest.approx(1.0)
    assert compare(known, 1, embedding(1))[0] == pytest.approx(1.0)
    assert compare(known, 1, embedding(5))[0] == pytest.approx(0.0)


def test_the_lead_is_over_the_most_alike_other_object_that_is_there(known):
    assert compare(known, 1, embedding(0))[1] == pytest.approx(1.0)  # no other one is known
    known.learn(2, embedding(0, 2, share=0.5))
    assert compare(known, 1, embedding(0))[1] == pytest.approx(1.0 - math.sqrt(0.5))
    assert compare(known, 1, embedding(0, 2, share=0.5))[1] < -0.2  # it is the other one
    assert compare(known, 1, embedding(0), live=(0, 1))[1] == pytest.approx(1.0)


def test_what_a_mask_cannot_be_by_its_size_is_no_rival(known):
    known.learn(2, embedding(0, 2, share=0.5))
    assert compare(known, 1, embedding(0), alike_in_size=(0, 1))[1] == pytest.approx(1.0)


def test_what_was_forgotten_or_never_learned_says_nothing(known):
    assert all(math.isnan(value) for value in compare(known, 0, embedding(0)))
    assert all(math.isnan(value) for value in compare(known, 1, torch.zeros(DIM)))  # no mask
    known.clear(1)
    assert all(math.isnan(value) for value in compare(known, 1, embedding(0)))
    known.learn(1, embedding(3))
    assert compare(known, 1, embedding(0))[0] == pytest.approx(0.0)  # nothing is left of before


def test_memory_is_bounded_and_rare_views_are_kept():
    gallery = Gallery(1, DIM, torch.device('cpu'))
    generator = torch.Generator().manual_seed(0)
    for index in range(600):
        view = embedding(7) if index % 50 == 0 else embedding(0)
        noisy = view + 0.1 * torch.randn(DIM, generator=generator)
        gallery.learn(0, noisy / noisy.norm())
    assert gallery.samples.shape == (1, 256, DIM)
    assert torch.isfinite(gallery.centers).all()
    assert compare(gallery, 0, embedding(7), live=(0,))[0] > 0.9
    assert compare(gallery, 0, embedding(0), live=(0,))[0] > 0.9


def test_only_what_was_pointed_at_is_trusted(known):
    assert known.compare_verified(1, embedding(0)) == 0.0  # learned, but nobody pointed at it
    known.learn(1, embedding(3), verified=True)
    assert known.compare_verified(1, embedding(3)) == pytest.approx(1.0)
    assert known.compare_verified(1, embedding(0)) == pytest.approx(0.0)
    assert compare(known, 1, embedding(3))[0] == pytest.approx(1.0)  # it is learned as well
    known.clear(1)
    assert known.compare_verified(1, embedding(3)) == 0.0


def test_the_first_look_that_was_pointed_at_is_kept_with_the_newest_ones():
    gallery = Gallery(1, DIM, torch.device('cpu'))
    for index in range(10):
        gallery.learn(0, embedding(index), verified=True)
    verified = [
        index for index in range(10) if gallery.compare_verified(0, embedding(index)) > 0.9
    ]
    assert verified == [0, *range(3, 10)]
