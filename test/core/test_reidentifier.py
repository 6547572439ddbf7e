"""How objects look is learned only from frames that surely show them."""

import math
import uuid

import pytest
import torch

from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.objects import LiveObject, TrackState
from robust_vos_ros.core.reid.reidentifier import Reidentifier
from robust_vos_ros.core.types import ObjectState

FIRST_NS, LATER_NS = 10**9, 4 * 10**9  # just after the prompt, and not


@pytest.fixture
def reidentifier(model):
    return Reidentifier(model, capacity=2)


def embedding(reidentifier, first, second=0.0):
    vector = torch.zeros(reidentifier.embedder.dim)
    vector[0], vector[1] = first, second
    return vector / vector.norm()


def prompted(reidentifier, *, remembered=True, reacquired_ns=None, **changes):
    """Return an object that was prompted at time 0, and is followed well since."""
    track = TrackState(0, 0, **{'state': ObjectState.TRACKED, 'confidence': 0.9, **changes})
    item = LiveObject('cup', uuid.uuid4(), '', 1, 0, track)
    item.memory.updated, item.reid.reacquired_ns = remembered, reacquired_ns
    reidentifier.start(item, embedding(reidentifier, 1.0), 0)
    return item


@pytest.mark.parametrize(
    ('changes', 'stamp_ns', 'seen', 'learned', 'why'),
    [
        ({}, LATER_NS, (0.9, 0.3), True, 'it surely is the object, a little turned'),
        ({}, FIRST_NS, (0.3, 0.9), True, 'it was pointed at just before: it has turned'),
        ({}, LATER_NS, (0.3, 0.9), False, 'the mask slid to something else'),
        ({}, FIRST_NS // 10, (0.9, 0.3), False, 'the last look is hardly older'),
        ({'confidence': 0.5}, LATER_NS, (0.9, 0.3), False, 'the mask may be wrong'),
        ({'remembered': False}, LATER_NS, (0.9, 0.3), False, 'memory does not trust it'),
        ({'state': ObjectState.UNCERTAIN}, LATER_NS, (0.9, 0.3), False, 'it is uncertain'),
        ({'reacquired_ns': 0}, FIRST_NS, (0.9, 0.3), False, 'what came back may be a look-alike'),
        ({'reacquired_ns': 0}, LATER_NS, (0.9, 0.3), True, 'it stayed'),
    ],
)
def test_what_is_learned(reidentifier, changes, stamp_ns, seen, learned, why):
    item = prompted(reidentifier, **changes)
    reidentifier.learn([item], embedding(reidentifier, *seen)[None], stamp_ns, 0.8)
    assert int(reidentifier.gallery.counts[1]) == 1 + learned, why
    assert item.reid.learned_ns == (stamp_ns if learned else 0)


def test_what_is_seen_just_after_a_prompt_is_trusted_later(reidentifier):
    item = prompted(reidentifier)
    turned = embedding(reidentifier, 0.3, 0.9)[None]
    reidentifier.learn([item], turned, FIRST_NS, 0.8)
    reidentifier.learn([item], turned, LATER_NS, 0.8)
    assert int(reidentifier.gallery.counts[1]) == 3
    assert float(reidentifier.gallery.compare_verified(1, turned[0])) == pytest.approx(1.0)


def test_what_a_detector_points_at_is_not_trusted(reidentifier):
    item = prompted(reidentifier)
    item.reid.verified_ns = None
    reidentifier.learn([item], embedding(reidentifier, 0.3, 0.9)[None], FIRST_NS, 0.8)
    assert int(reidentifier.gallery.counts[1]) == 1


def test_looks_do_not_wander_off_step_by_step(reidentifier):
    item = prompted(reidentifier)
    for step in range(1, 10):
        angle = torch.tensor(0.15 * step)
        seen = embedding(reidentifier, float(angle.cos()), float(angle.sin()))
        reidentifier.learn([item], seen[None], step * LATER_NS, 0.8)
    slots = torch.tensor([1])
    every = torch.ones(len(slots), len(slots), dtype=torch.bool)
    found = reidentifier.gallery.compare(
        slots, embedding(reidentifier, 0.0, 1.0)[None], slots, every
    )
    similarity = found.similarity
    assert float(similarity) < 0.65  # each is like the one before; the last is another thing


def test_how_alike_an_object_usually_is(reidentifier):
    item = prompted(reidentifier, evidence=Evidence(0.9, 5.0, similarity=0.9))
    assert math.isnan(item.reid.mean_similarity)  # one look says nothing
    item.track.evidence, known = Evidence(0.9, 5.0), item.track.evidence
    reidentifier.learn([item], embedding(reidentifier, 1.0, 0.1)[None], LATER_NS // 2, 0.8)
    assert math.isnan(item.reid.mean_similarity)  # nor does one that was not compared
    item.track.evidence = known
    reidentifier.learn([item], embedding(reidentifier, 1.0, 0.1)[None], LATER_NS, 0.8)
    assert item.reid.mean_similarity == pytest.approx(0.9)
    item.track.evidence = Evidence(0.9, 5.0, similarity=0.8)
    reidentifier.learn([item], embedding(reidentifier, 1.0, 0.1)[None], 2 * LATER_NS, 0.8)
    assert item.reid.mean_similarity == pytest.approx(0.88)


@pytest.mark.parametrize('similarity', [1.0000002, -1.0000002])
def test_a_rounded_cosine_stays_one_that_can_be_saved(reidentifier, similarity):
    item = prompted(reidentifier, evidence=Evidence(0.9, 5.0, similarity=similarity))
    reidentifier.learn([item], embedding(reidentifier, 1.0)[None], LATER_NS, 0.8)
    assert abs(item.reid.mean_similarity) == 1.0
