"""The refiner of prompted masks."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from robust_vos_ros.core.masks import mask_iou_numpy
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.mask_decoder import ABSENT_LOGIT
from robust_vos_ros.core.network.prompt_refiner import PromptRefiner, RefinerSettings
from robust_vos_ros.core.network.tensors import Candidates, Features
from robust_vos_ros.core.prompting.segmentation import segment_once
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.data.stills import is_held_out, open_stills
from robust_vos_ros.eval.prompting import make_prompt

HIDDEN, SIDE = 128, 64
STILLS = Path(__file__).parents[3] / 'shared/masks'


@pytest.fixture(scope='module')
def nano():
    return load_model(ModelSettings(device='cpu', precision='fp32', adapter='none'))


def random_inputs(batch, masks=1):
    generator = torch.Generator().manual_seed(5)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    features = Features(
        random(1, HIDDEN, SIDE // 4, SIDE // 4),
        random(1, 256, HIDDEN),
        (random(1, HIDDEN // 8, SIDE, SIDE), random(1, HIDDEN // 4, SIDE // 2, SIDE // 2)),
    )
    logits = 5.0 * random(batch, masks, SIDE, SIDE)
    found = Candidates(
        logits, torch.ones(batch, masks), torch.ones(batch), torch.ones(batch, masks, HIDDEN)
    )
    scores = random(batch, 1, SIDE, SIDE).sigmoid()
    return features, found, random(batch, 1, SIDE, SIDE), logits[:, :1], scores


def test_an_untrained_refiner_limits_logits_and_adds_the_score_of_the_classifier():
    refiner = PromptRefiner(RefinerSettings(), HIDDEN)
    inputs = random_inputs(2, masks=3)
    changed = refiner(*inputs) - 6.0 * torch.tanh(inputs[3] / 6.0)
    torch.testing.assert_close(changed, 2.0 * inputs[4] - 1.0, atol=1e-5, rtol=1e-5)


def test_objects_of_a_batch_are_refined_as_one_by_one():
    refiner = PromptRefiner(RefinerSettings(), HIDDEN)
    torch.nn.init.normal_(refiner.to_change.weight, std=0.1)
    features, found, prompt, present, scores = random_inputs(3)
    together = refiner(features, found, prompt, present, scores)
    for row in range(3):
        at = torch.tensor([row])
        alone = refiner(features, found.rows(at), prompt[at], present[at], scores[at])
        torch.testing.assert_close(together[at], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not STILLS.is_dir(), reason='the data set of still images is not here')
def test_refined_masks_of_boxes_are_nearer_to_held_out_objects(nano):
    stills = [still for still in open_stills(STILLS) if is_held_out(still.name, 0.1)]
    before, after = [], []
    for still in stills[:: len(stills) // 15]:
        image = still.image()
        masks = [mask for mask in still.masks().values() if 0.02 < mask.mean() < 0.6]
        if not masks:
            continue
        boxes = [make_prompt('box', mask, str(row)) for row, mask in enumerate(masks)]
        for found, refiner in ((after, nano.prompt_refiner), (before, None)):
            with replaced(nano, refiner):
                result = segment_once(nano, Frame(image, 0), boxes, len(boxes))
            found += [
                mask_iou_numpy(result.mask(str(row)), mask) for row, mask in enumerate(masks)
            ]
    assert len(before) >= 10
    assert np.mean(after) > np.mean(before) + 0.02


@contextlib.contextmanager
def replaced(model, refiner):
    kept, model.prompt_refiner = model.prompt_refiner, refiner
    try:
        yield
    finally:
        model.prompt_refiner = kept


def test_a_drawn_disc_stays_a_disc(nano, make_scene):
    scene = make_scene(num_discs=2)
    truth = scene.masks(0)[0]
    for form, least in (('box', 0.9), ('clicks3', 0.8), ('click1', 0.8)):
        result = segment_once(nano, scene.frame(0), [make_prompt(form, truth, 'a')], 1)
        assert mask_iou_numpy(result.mask('a'), truth) > least, form


def test_an_absent_object_stays_absent(nano):
    with nano.inference():
        features = nano.encode(torch.zeros(1, nano.image_size, nano.image_size, 3).byte())
        absent = torch.full((1, 1, nano.mask_size, nano.mask_size), ABSENT_LOGIT)
        found = Candidates(
            absent, torch.ones(1, 1), -torch.ones(1), torch.zeros(1, 1, nano.hidden_dim)
        )
        kept = nano.refine_prompted(features, torch.zeros_like(absent), found)
    assert not (kept.mask_logits > 0).any()
