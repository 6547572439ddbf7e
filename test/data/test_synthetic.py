"""Rendered clips: reproducible, with true occlusion, exits and look-alikes."""

import numpy as np
import pytest

from robust_vos_ros.data.layers import cut_out
from robust_vos_ros.data.synthetic import SyntheticSettings, render_clip

SIZE = 96


def render(seed, num_frames=4, photos=(), cutouts=(), **settings):
    return render_clip(
        seed,
        num_frames=num_frames,
        size=SIZE,
        settings=SyntheticSettings(**settings),
        photos=photos,
        cutouts=cutouts,
    )


def red_square():
    images = np.full((2, 40, 60, 3), 30, np.uint8)
    masks = np.zeros((2, 40, 60), np.uint8)
    for t in range(2):
        masks[t, 10:30, 20 + t : 40 + t] = 1
        images[t][masks[t] > 0] = (250, 5, 5)
    return images, masks


def test_a_seed_gives_the_same_bits_and_another_seed_others():
    one, two, other = render(1), render(1), render(2)
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.masks, two.masks)
    assert not np.array_equal(one.images, other.images)
    assert one.name == 'synthetic/1'


@pytest.mark.parametrize('num_frames', [1, 2, 9])
def test_shapes(num_frames):
    clip = render(3, num_frames)
    assert clip.images.shape == (num_frames, SIZE, SIZE, 3)
    assert clip.masks.shape[1:] == (num_frames, SIZE, SIZE)


def test_every_clip_shows_an_object_first_and_masks_never_overlap():
    for seed in range(30):
        clip = render(seed)
        assert clip.masks[:, 0].mean(axis=(1, 2)).max() >= 0.003
        assert clip.masks.sum(axis=0).max() == 1, 'a pixel shows one object'
        assert set(np.unique(clip.masks)) <= {0, 1}


def test_objects_leave_come_back_and_enter():
    left = back = entered = 0
    for seed in range(60):
        for masks in render(seed, 8).masks:
            seen = masks.any(axis=(1, 2))
            changes = ''.join('1' if s else '0' for s in seen)
            left += '10' in changes
            entered += changes.startswith('0') and '1' in changes
            back += '101' in changes or '1001' in changes
    assert left > 10
    assert entered > 10
    assert back > 0


def test_an_occluder_hides_what_is_behind_it():
    hidden = 0
    for seed in range(20):
        clip = render(seed, 9, max_layers=1, occluder=1.0, static=1.0, camera=0.0, deform=0.0)
        areas = clip.masks[0].sum(axis=(1, 2))
        assert len(clip.masks) == 2
        hidden += areas[4] < 0.5 * areas.max()
    assert hidden > 10


def test_nothing_moves_without_motion():
    clip = render(7, static=1.0, camera=0.0, deform=0.0, occluder=0.0)
    assert (clip.masks == clip.masks[:, :1]).all()


def test_look_alikes_share_their_colours():
    images, masks = red_square()
    cutouts = [cut_out(images, masks)]
    plain = {'tone_probability': 0.0, 'drift_probability': 0.0, 'color_probability': 0.0}
    plain |= {'shadow_probability': 0.0}
    clip = render(
        4, cutouts=cutouts, cutout=1.0, distractor=1.0, shadow=0.0, occluder=0.0,
        appearance=plain, min_area=0.05,
    )  # fmt: skip
    shown = [k for k, masks in enumerate(clip.masks) if masks[0].sum() > 100]
    assert len(shown) >= 2
    for k in shown:
        red, green, _ = np.median(clip.images[0][clip.masks[k, 0] > 0], axis=0)
        assert red > 150
        assert green < 90


def test_areas_follow_the_settings():
    settings = {'max_layers': 1, 'occluder': 0.0, 'static': 1.0, 'camera': 0.0, 'deform': 0.0}

    def median_area(low, high):
        clips = [render(s, min_area=low, max_area=high, **settings) for s in range(9)]
        return np.median([clip.masks[0, 0].mean() for clip in clips])

    assert 0.003 < median_area(0.01, 0.011) < 0.013
    assert 0.1 < median_area(0.2, 0.21) < 0.23


def test_cut_out_follows_the_object_through_its_frames():
    images, masks = red_square()
    cutout = cut_out(images, masks)
    assert len(cutout.colors) == 2
    assert cutout.alphas.max() == pytest.approx(1.0)
    assert cutout.colors[0][cutout.alphas[0] > 0.9][:, 0].min() > 200
    assert cutout.alphas.shape[1:] == (26, 27), 'the box of both frames and a margin of 3'


def test_large_objects_are_cut_out_smaller_and_empty_ones_refused():
    masks = np.zeros((1, 400, 500), np.uint8)
    masks[:, 50:350, 40:460] = 1
    cutout = cut_out(np.zeros((1, 400, 500, 3), np.uint8), masks)
    assert max(cutout.alphas.shape) <= 160
    with pytest.raises(ValueError, match='got none'):
        cut_out(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8), np.uint8))


def test_photos_are_used():
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[..., 1] = 255
    with_photo = [render(seed, photos=[photo]) for seed in range(12)]
    green = [np.mean((c.images[..., 1] > 200) & (c.images[..., 0] < 60)) for c in with_photo]
    assert max(green) > 0.3


def test_settings_that_show_nothing_are_an_error():
    with pytest.raises(RuntimeError, match='no object is visible'):
        render(0, min_area=1e-5, max_area=1e-5, occluder=0.0)
