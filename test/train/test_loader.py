"""The batch of a step depends on seed, step and rank alone."""

import pytest
import torch

from robust_vos_ros.data.mixture import DataSettings
from robust_vos_ros.train.loader import Batches, ClipSource, load_batches

SETTINGS = DataSettings(batch_size=2, num_frames=2, long_frames=3, long_share=0.5, max_objects=2)


def batches(**changes):
    options = {'seed': 0, 'rank': 0, 'first_step': 0, 'num_steps': 4} | changes
    return Batches(ClipSource(SETTINGS, 64), **options)


def same(one, two):
    pairs = ((one.images, two.images), (one.truth, two.truth), (one.clip, two.clip))
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize('num_workers', [0, 1, 2])
def test_order_does_not_depend_on_workers(num_workers):
    made = list(load_batches(batches(), num_workers))
    assert len(made) == 4
    assert all(same(batch, batches().draw(step)) for step, batch in enumerate(made))


def test_a_resumed_run_goes_on_with_the_same_batches():
    resumed = list(load_batches(batches(first_step=2), 0))
    assert [same(batch, batches().draw(2 + i)) for i, batch in enumerate(resumed)] == [True, True]


def test_seed_rank_and_step_change_the_batch():
    first = batches().draw(0)
    for other in (batches(seed=1).draw(0), batches(rank=1).draw(0), batches().draw(1)):
        assert not same(first, other)


def test_clips_get_longer_towards_the_end():
    lengths = [batch.images.shape[1] for batch in load_batches(batches(), 0)]
    assert lengths == [2, 2, 3, 3]


def test_objects_point_to_their_clips():
    for batch in load_batches(batches(), 0):
        assert batch.images.shape[0] == 2
        assert len(batch.clip) == len(batch.truth)
        assert batch.clip.unique().tolist() == [0, 1]
        assert (batch.truth[:, 0].flatten(1).sum(dim=1) > 0).all()
