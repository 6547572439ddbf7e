"""The training roll-out against the engine it stands for."""

import dataclasses

import numpy as np
import pytest
import torch

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model_files import find_weights, load_spec
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.data.synthetic import SyntheticSettings, render_clip
from robust_vos_ros.train import unroll
from robust_vos_ros.train.config import RolloutSettings, TrainSettings
from robust_vos_ros.train.network import build_model
from robust_vos_ros.train.unroll import Batch, Rollout

PLAIN = RolloutSettings(
    mask_prompts=1.0,
    correction_share=0.0,
    memory_dropout=0.0,
    previous_dropout=0.0,
    teacher_forcing=0.0,
)
NUM_FRAMES = 9  # more than the recent memory holds


@pytest.fixture(scope='module')
def model():
    settings = ModelSettings(device='cpu', precision='fp32', adapter='none')
    return load_model(settings, portable=True)  # a teacher copies it


@pytest.fixture(scope='module')
def clip():
    return render_clip(5, num_frames=NUM_FRAMES, size=256, settings=SyntheticSettings())


def to_batch(*clips):
    truth = [torch.from_numpy(c.masks[[c.masks[:, 0].sum(axis=(1, 2)).argmax()]]) for c in clips]
    images = torch.from_numpy(np.stack([c.images for c in clips]))
    return Batch(images, torch.cat(truth), torch.arange(len(clips)), images)


def run(model, batch, settings, seed=0, progress=1.0):
    torch.manual_seed(0)  # the head begins at random
    return Rollout(model, settings)(batch, np.random.default_rng(seed), progress)


@torch.no_grad()
def test_mask_prompts_without_an_auxiliary_loss_are_a_loss(model, clip):
    bare = PLAIN.model_copy(update={'calibration_weight': 0.0, 'deep_weight': 0.0})
    loss, stats = run(model, to_batch(clip), bare)
    assert float(loss) > 0
    assert not [name for name in stats if name.startswith('J_')]


@torch.no_grad()
def test_rollout_tracks_as_the_engine_does(model, clip, monkeypatch):
    seen = []

    def record(raw, truth):
        seen.append(
            model.decoder.suppress_absent(raw.best(), raw.object_scores > 0).mask_logits[0, 0]
        )
        return real(raw, truth)

    real = unroll.frame_loss
    monkeypatch.setattr(unroll, 'frame_loss', record)
    monkeypatch.setattr(unroll.prompting, 'degrade_mask', lambda rng, mask: mask)
    batch = to_batch(clip)
    run(model, batch, PLAIN)

    tracker = VideoTracker(model, TrackerSettings.plain())
    tracker.step(Frame(clip.images[0], 0))
    tracker.add([Prompt('a', mask=batch.truth[0, 0].numpy() > 0)])
    assert len(seen) == NUM_FRAMES - 1
    for t, logits in enumerate(seen, 1):
        result = tracker.step(Frame(clip.images[t], t * 10**8))
        torch.testing.assert_close(result.mask_logits[0], logits, atol=1e-2, rtol=1e-3)


def test_gradients_reach_every_part_that_tracks(clip):
    weights = str(find_weights(load_spec('nano')))
    model = build_model(TrainSettings(weights=weights, device='cpu', precision='fp32'))
    rollout = Rollout(model, RolloutSettings(mask_prompts=0.5, correction_share=1.0))
    batch = to_batch(clip)
    for seed in range(3):  # every form of prompt
        loss, _ = rollout(batch, np.random.default_rng(seed), 0.5)
        loss.backward()
    idle = {
        name
        for name, p in rollout.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    }
    parts = ('trunk', 'neck', 'memory_attention', 'memory_encoder', 'maskmem_tpos_enc', 'head')
    assert not [name for name in idle if name.startswith(tuple(f'net.{p}' for p in parts))]
    assert not [name for name in idle if 'mask_downscaling' in name or 'transformer' in name]


@torch.no_grad()
def test_statistics_name_what_was_done(model, clip):
    batch = to_batch(clip, clip)
    _, stats = run(model, batch, PLAIN)
    assert {'J', 'focal', 'dice', 'iou', 'object'} <= stats.keys()
    assert not any(name.startswith('J_') for name in stats)
    _, stats = run(model, batch, RolloutSettings(mask_prompts=0.0, correction_share=1.0))
    assert 'J_corrected' in stats
    assert any(name in stats for name in ('J_box', 'J_click1', 'J_clicks3'))
    assert all(0 <= value <= 1 for name, value in stats.items() if name.startswith('J'))


@torch.no_grad()
def test_same_randomness_same_loss(model, clip):
    batch = to_batch(clip)
    settings = RolloutSettings(mask_prompts=0.0)
    one, two, other = (run(model, batch, settings, seed)[0].item() for seed in (1, 1, 2))
    assert one == two != other


@torch.no_grad()
def test_an_object_that_leaves_is_learned_to_be_absent(model, clip):
    batch = to_batch(clip)
    batch.truth[:, 2:] = 0
    loss, stats = run(model, batch, PLAIN)
    assert torch.isfinite(loss)
    assert stats['object'] > 0


def test_a_teacher_asks_nothing_of_clean_clips_and_something_of_spoilt_ones(model, clip):
    settings = RolloutSettings(
        mask_prompts=1.0, correction_share=0.0, memory_dropout=0.0, previous_dropout=0.0,
        teacher_forcing=0.0, deep_weight=0.0, teacher_weight=1.0,
    )  # fmt: skip
    clean = to_batch(clip)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0.0, 60.0, clean.images.shape))
    spoilt = (clean.images + noise).clamp(0, 255).to(torch.uint8)
    with torch.no_grad():
        # The prompt of training is drawn a little wrong, so it is not exactly zero.
        _, same = run(model, clean, settings)
        _, other = run(model, dataclasses.replace(clean, images=spoilt), settings)
    assert same['teacher'] < 0.05
    assert other['teacher'] > 2.0 * same['teacher']
