"""Object proxies and discriminative calibration, on nano with a calibration of random weights."""

import dataclasses

import numpy as np
import pytest
import torch

from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.checkpoints import build_network
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import load_spec
from robust_vos_ros.core.network.object_calibration import CalibrationSettings, ObjectCalibration
from robust_vos_ros.core.network.object_classifier import agreement, classify, fit_classifier
from robust_vos_ros.core.network.object_proxies import cluster, make_proxies, max_over_group
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt

WIDTH, SIDE, HIDDEN = 16, 32, 128
TRUNK = (32, 96)


def calibrated_nano(**parts):
    """Nano with an object calibration that changes masks a little."""
    spec = load_spec('nano')
    settings = CalibrationSettings(width=WIDTH, **parts)
    net = build_network(spec.model_copy(update={'object_calibration': settings}))
    state = checkpoints.read_state_dict(model_files.find_weights(spec, ''))
    own = net.state_dict()
    net.load_state_dict(
        own | {k: v for k, v in state.items() if not k.startswith('object_calibration.')}
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.object_calibration.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return Model(
        net.eval().requires_grad_(False), name='nano', weights_hash='test',
        device=torch.device('cpu'), precision='fp32', coarse_prompts=True, previous_mask=True,
    )  # fmt: skip


@pytest.fixture(scope='module')
def nano():
    return calibrated_nano()


def random_inputs(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = (
        torch.randn(batch, width, SIDE, SIDE, generator=generator) for width in (WIDTH, *TRUNK)
    )
    embedded = torch.cat([torch.nn.functional.normalize(x, dim=1) for x in parts], dim=1)
    pix = torch.randn(batch, HIDDEN, SIDE // 2, SIDE // 2, generator=generator)
    logits = torch.full((batch, 1, 2 * SIDE, 2 * SIDE), -5.0)
    for row in range(batch):
        logits[row, :, 8 + 4 * row : 24 + 4 * row, 10:30] = 5.0
    return embedded, pix, logits


@pytest.fixture
def part():
    torch.manual_seed(0)
    made = ObjectCalibration(CalibrationSettings(width=WIDTH), HIDDEN, TRUNK)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def calibrate(part, embedded, pix, logits, group=None, is_best=None):
    references = part.start(embedded, logits)
    return part(embedded, pix, references, logits, group=group, is_best=is_best)


def test_clusters_are_means_of_their_points_and_shares_sum_to_one():
    points = torch.tensor([[0.0, 0.1, 5.0, 5.2, 9.0]])[..., None].repeat(1, 1, 2)
    weight = torch.tensor([[[1.0, 1.0, 1.0, 1.0, 0.0], [0.0] * 5]])
    centers, shares = cluster(points, weight, 2)
    torch.testing.assert_close(centers[0, 0, :, 0].sort().values, torch.tensor([0.05, 5.1]))
    torch.testing.assert_close(shares[0, 0], torch.tensor([0.5, 0.5]))
    assert not centers[0, 1].any()
    assert not shares[0, 1].any()


@pytest.mark.parametrize('count', [1, 2, 16])
def test_a_region_smaller_than_the_number_of_clusters_keeps_finite_centers(count):
    points = torch.randn(1, 50, 4, generator=torch.Generator().manual_seed(1))
    weight = torch.zeros(1, 1, 50)
    weight[..., 7] = 0.3
    centers, shares = cluster(points, weight, count)
    torch.testing.assert_close(centers[0, 0], points[0, 7].expand(count, -1))
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))


def test_proxies_do_not_depend_on_the_batch_and_not_on_the_order():
    embedded, _, logits = random_inputs(4)
    together = make_proxies(embedded, logits, (1, 16))
    for row in (0, 3):
        alone = make_proxies(embedded[row : row + 1], logits[row : row + 1], (1, 16))
        for field in dataclasses.fields(alone):
            one, all_ = getattr(alone, field.name), getattr(together, field.name)
            torch.testing.assert_close(one[0], all_[row])


def test_an_object_out_of_view_keeps_its_older_proxies():
    embedded, _, logits = random_inputs(2)
    before = make_proxies(embedded, logits, (1, 16))
    gone = logits.clone()
    gone[1] = -5.0
    after = make_proxies(embedded.flip(-1), gone, (1, 16))
    assert after.valid.tolist() == [True, False]
    kept = after.or_else(before)
    torch.testing.assert_close(kept.centers[1], before.centers[1])
    torch.testing.assert_close(kept.centers[0], after.centers[0])
    assert kept.valid.all()


def test_similarity_is_highest_where_the_object_was(part):
    embedded, _, logits = random_inputs(1)
    proxies = part.proxies(embedded, logits)
    maps = part.similarities(embedded[:, :WIDTH], (proxies, proxies))
    assert maps.shape == (1, 12, SIDE, SIDE)
    assert 0.0 <= maps.min() <= maps.max() <= 1.0
    inside = torch.nn.functional.interpolate((logits > 0).float(), (SIDE, SIDE))[0, 0] > 0
    of_object, of_background = maps[0, 2], maps[0, 3]  # 16 clusters of the first reference
    assert of_object[inside].mean() > of_background[inside].mean()
    assert of_object[~inside].mean() < of_background[~inside].mean()


def test_objects_of_one_image_see_each_other_and_no_others(part):
    embedded, pix, logits = random_inputs(4)
    group = torch.tensor([0, 0, 1, 1])
    together = calibrate(part, embedded, pix, logits, group)
    pair = calibrate(part, embedded[:2], pix[:2], logits[:2])
    torch.testing.assert_close(together.coarse[:2], pair.coarse)
    alone = calibrate(part, embedded[:1], pix[:1], logits[:1])
    assert not torch.allclose(alone.coarse, pair.coarse[:1])


def test_the_order_of_objects_changes_nothing(part):
    embedded, pix, logits = random_inputs(3)
    order = torch.tensor([2, 0, 1])
    one = calibrate(part, embedded, pix, logits)
    other = calibrate(part, embedded[order], pix[order], logits[order])
    torch.testing.assert_close(one.coarse[order], other.coarse)
    torch.testing.assert_close(one.fine[order], other.fine)


def test_only_leading_rows_are_seen_by_others():
    x = torch.arange(4.0).view(4, 1, 1, 1)
    is_best = torch.tensor([True, True, False, False])
    assert max_over_group(x, None, is_best).flatten().tolist() == [1.0]
    group = torch.tensor([0, 1, 0, 1])
    assert max_over_group(x, group, is_best).flatten().tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ('parts', 'num_maps'),
    [
        ({}, 12),
        ({'granularities': [1, 16], 'pixel_proxies': False}, 8),
        ({'granularities': [], 'pixel_proxies': False}, 0),  # without proxies
        ({'cascades': 0}, 12),  # without discriminative calibration
        ({'classifier': False}, 12),
    ],
)
def test_gradients_reach_every_parameter_of_every_variant(parts, num_maps):
    torch.manual_seed(0)
    part = ObjectCalibration(CalibrationSettings(width=WIDTH, **parts), HIDDEN, TRUNK)
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    assert part.num_maps == num_maps
    _, pix, logits = random_inputs(2)
    pix.requires_grad_()
    embedded = torch.nn.functional.normalize(
        part.embed_fine(torch.randn(2, HIDDEN // 4, SIDE, SIDE))
        + torch.nn.functional.interpolate(part.embed_coarse(pix), (SIDE, SIDE)),
        dim=1,
    )
    if part.settings.classifier:
        embedded = torch.cat([embedded, random_inputs(2)[0][:, WIDTH:]], dim=1)
    dense = calibrate(part, embedded, pix, logits, torch.tensor([0, 0]))
    assert dense.coarse.shape == (2, HIDDEN, SIDE // 2, SIDE // 2)
    assert dense.fine.shape == (2, HIDDEN // 4, SIDE, SIDE)
    (dense.coarse.square().mean() + dense.fine.square().mean()).backward()
    idle = [n for n, p in part.named_parameters() if p.numel() and not p.grad.abs().sum() > 0]
    assert not idle
    assert pix.grad.abs().sum() > 0


def test_the_classifier_tells_object_from_background_also_with_few_cells():
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(1, 400, 32, generator=generator), dim=2)
    kind = torch.nn.functional.normalize(torch.randn(32, generator=generator), dim=0)
    points[0, :80] += kind  # cells of the first objects
    shares = torch.zeros(4, 400)
    shares[0, :40] = 1.0
    shares[1, 3] = 0.2  # less than half of any cell
    shares[2] = 1.0  # no background
    classifier = fit_classifier(points, shares)
    assert classifier.shape == (4, 33)
    scores = classify(points.transpose(1, 2), classifier)
    assert scores[0, 40:80].mean() > 0.6  # alike, though the mask does not cover them
    assert scores[0, 80:].mean() < 0.2
    assert scores[1].argmax() == 3
    assert scores[2].min() > 0.9
    assert not scores[3].any()  # an object out of view


def test_a_classifier_does_not_depend_on_the_other_objects(part):
    embedded, _, logits = random_inputs(3)
    together = part.start(embedded, logits).classifier
    for row in range(3):
        alone = part.start(embedded[row : row + 1], logits[row : row + 1]).classifier
        torch.testing.assert_close(alone[0], together[row])


def test_the_classifier_stays_that_of_the_prompted_frame(model, make_scene):
    scene = make_scene(num_discs=1)
    tracker, _, _ = track(model, scene, [0])
    table, slots = tracker._tracks.propagator.references, np.array([0])
    before = table.of(slots)
    tracker.step(scene.frame(4))
    after = table.of(slots)
    assert torch.equal(before.classifier, after.classifier)
    assert not torch.equal(before.recent.cells, after.recent.cells)


def test_an_untrained_calibration_changes_no_mask_but_by_the_score_of_its_classifier():
    torch.manual_seed(0)
    part = ObjectCalibration(CalibrationSettings(width=WIDTH), HIDDEN, TRUNK)
    inputs = random_inputs(2)
    dense = calibrate(part, *inputs)
    assert not dense.coarse.any()
    assert not dense.fine.any()
    inside = inputs[2] > 0
    assert 0.5 < dense.scores[inside].mean() <= 1
    assert 0 <= dense.scores[~inside].mean() < 0.5
    without = CalibrationSettings(width=WIDTH, classifier=False)
    plain = ObjectCalibration(without, HIDDEN, TRUNK)
    assert not calibrate(plain, inputs[0][:, :WIDTH], *inputs[1:]).scores.sub(0.5).any()


@pytest.mark.parametrize(
    ('rows', 'scores_outside', 'expected'),
    [
        (slice(8, 16), 0.0, 1.0),  # what the scores say
        (slice(8, 12), 0.0, 0.5),  # half of it
        (slice(20, 28), 0.0, 0.0),  # elsewhere
        (slice(8, 16), 0.25, None),  # something looks a little like the object
    ],
)
def test_a_mask_agrees_with_the_scores_near_it(rows, scores_outside, expected):
    scores = torch.full((1, 64, 64), scores_outside)
    scores[:, 8:16, 10:50] = 1.0
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, rows, 10:50] = True
    found = float(agreement(scores, mask))
    if expected is not None:
        assert found == pytest.approx(expected, abs=1e-6)
        return
    near = 16 * 48 - 8 * 40  # cells within 4 of the mask
    assert found == pytest.approx(320 / (320 + 0.25 * near))
    scores[:, 40:] = 1.0  # another thing that looks the same, far away
    assert float(agreement(scores, mask)) == pytest.approx(found)


def test_an_empty_mask_agrees_with_nothing():
    assert float(agreement(torch.ones(1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool))) == 0.0


def track(model, scene, order, frames=4, **settings):
    tracker = VideoTracker(model, TrackerSettings(max_objects=4, **settings))
    tracker.step(scene.frame(0))
    masks = scene.masks(0)
    tracker.add([Prompt(str(k), mask=masks[k]) for k in order])
    results = [tracker.step(scene.frame(t)) for t in range(1, frames)]
    return tracker, [{o.object_id: o for o in r.objects} for r in results], results


def test_the_tracker_gives_the_same_masks_in_either_order(nano, make_scene):
    scene = make_scene(num_discs=3)
    _, _, one = track(nano, scene, [0, 1, 2])
    _, _, other = track(nano, scene, [2, 1, 0])
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.mask_logits, b.mask_logits.flip(0), atol=1e-3, rtol=1e-3)


def test_calibration_takes_part_in_tracking(nano, model, make_scene):
    scene = make_scene(num_discs=2)
    with_part = track(nano, scene, [0, 1])[2][-1].mask_logits
    part, nano.object_calibration = nano.object_calibration, None
    try:
        without = track(nano, scene, [0, 1])[2][-1].mask_logits
    finally:
        nano.object_calibration = part
    assert not torch.allclose(with_part, without, atol=1e-2)


def test_saved_tracks_carry_the_references(nano, make_scene):
    scene = make_scene(num_discs=2)
    tracker, _, _ = track(nano, scene, [0, 1])
    copy = VideoTracker(nano, TrackerSettings(max_objects=4))
    copy.restore(tracker.save())
    restored = VideoTracker(nano, TrackerSettings(max_objects=4))
    restored.restore(tracker.save(), lost=True)
    slots = np.array([0, 1])
    for other in (copy, restored):
        mine = tracker._tracks.propagator.references.of(slots)
        theirs = other._tracks.propagator.references.of(slots)
        assert mine.classifier.any(dim=1).all()
        assert torch.equal(mine.classifier, theirs.classifier)
        for a, b in ((mine.prompted, theirs.prompted), (mine.recent, theirs.recent)):
            assert all(
                torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
            )
    result = tracker.step(scene.frame(4))
    assert torch.equal(result.mask_logits, copy.step(scene.frame(4)).mask_logits)
