"""Clips: the generated one is what the demo promises, videos are read as told."""

import itertools

import numpy as np
import pytest

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.demo.clip import generated_clip, video_clip
from robust_vos_ros.demo.scene import FISH, FPS, NUM_FRAMES, STAR


@pytest.fixture(scope='module')
def clip():
    return generated_clip()


@pytest.fixture(scope='module')
def frames(clip):
    return list(clip.frames())


def test_generated_clip_is_the_same_every_time(clip, frames):
    for first, second in zip(frames, itertools.islice(clip.frames(), 5), strict=False):
        assert np.array_equal(first.rgb, second.rgb)


def test_generated_frames_fit_their_description(clip, frames):
    assert len(frames) == NUM_FRAMES
    for frame in frames:
        assert frame.rgb.shape == (*clip.size_hw, 3)
        assert frame.rgb.dtype == np.uint8
        assert not (frame.truth.masks[FISH] & frame.truth.masks[STAR]).any()


def test_the_fish_hides_for_more_than_a_second_and_comes_back(frames):
    hidden = [index for index, frame in enumerate(frames) if not frame.truth.masks[FISH].any()]
    assert hidden == list(range(hidden[0], hidden[-1] + 1))
    assert 1.0 <= len(hidden) / FPS <= 1.5
    assert FISH in frames[-1].truth.visible
    assert frames[-1].truth.masks[FISH].sum() > 0.8 * frames[0].truth.masks[FISH].sum()


def test_the_starfish_is_always_visible(frames):
    assert all(STAR in frame.truth.visible for frame in frames)


def test_objects_have_a_size_a_small_network_sees(frames):
    for frame in (frames[0], frames[-1]):
        for mask in frame.truth.masks.values():
            rows, columns = np.nonzero(mask)
            assert 80 <= max(np.ptp(rows), np.ptp(columns)) <= 160


def test_motion_is_smooth(frames):
    for before, after in itertools.pairwise(frames):
        centers = [
            np.mean(np.nonzero(frame.truth.masks[STAR]), axis=1) for frame in (before, after)
        ]
        assert np.hypot(*(centers[1] - centers[0])) < 8
        change = np.abs(before.rgb.astype(int) - after.rgb.astype(int)).mean()
        assert 0.05 < change < 12  # something moves, nothing jumps


def test_prompts_point_at_the_objects(clip, frames):
    fish, star = clip.prompts
    masks = frames[0].truth.masks
    x0, y0, x1, y1 = fish.box.astype(int)
    assert masks[FISH][y0:y1, x0:x1].sum() == masks[FISH].sum()
    assert masks[FISH].sum() > 0.4 * (x1 - x0) * (y1 - y0)  # and the box is tight
    hits = [bool(masks[STAR][int(y), int(x)]) for x, y in star.points]
    assert hits == [bool(label) for label in star.point_labels]
    assert {0, 1} == set(star.point_labels.tolist())


def test_generated_clip_can_be_short():
    assert sum(1 for _ in generated_clip(7).frames()) == 7


@pytest.mark.parametrize(
    ('rate_hz', 'max_frames', 'expected'),
    [
        (30.0, 300, range(30)),  # as recorded
        (15.0, 300, range(0, 30, 2)),  # every other frame keeps the speed
        (60.0, 300, range(30)),  # no frames are invented
        (30.0, 7, range(7)),  # cut short
    ],
)
def test_video_is_thinned_to_the_rate(video_file, rate_hz, max_frames, expected):
    clip = video_clip(video_file, rate_hz=rate_hz, max_frames=max_frames)
    shown = [frame.rgb.mean() / 8 for frame in clip.frames()]
    assert np.allclose(shown, list(expected), atol=0.6)
    assert clip.size_hw == (60, 80)
    assert clip.prompts == ()


def test_wide_videos_shrink_and_their_prompts_with_them(video_file, monkeypatch):
    monkeypatch.setattr('robust_vos_ros.demo.clip.MAX_WIDTH', 40)
    clip = video_clip(video_file, box=(8, 10, 20, 30), clicks=((40, 20, 1), (60, 50, 0)))
    assert clip.size_hw == (30, 40)
    assert next(clip.frames()).rgb.shape == (30, 40, 3)
    box, clicks = clip.prompts
    assert box.box.tolist() == [4, 5, 10, 15]
    assert clicks.points.tolist() == [[20, 10], [30, 25]]
    assert clicks.point_labels.tolist() == [1, 0]


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'no video at .*nothing\.mp4'):
        video_clip(tmp_path / 'nothing.mp4')


def test_a_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / 'text.mp4'
    path.write_text('not a video')
    with pytest.raises(ConfigError, match=r'cannot read .* as a video'):
        video_clip(path)


@pytest.mark.parametrize(
    ('prompt', 'match'),
    [
        ({'box': (10, 10, 81, 20)}, 'inside the 80x60 frames'),  # right of the image
        ({'box': (-1, 10, 20, 20)}, 'inside the 80x60 frames'),  # left of it
        ({'box': (20, 10, 10, 20)}, 'x0 < x1'),  # corners swapped
        ({'clicks': ((10, 61, 1),)}, 'got 10,61'),  # below the image
        ({'clicks': ((float('nan'), 5, 1),)}, 'got nan,5'),  # not a number
    ],
)
def test_prompts_outside_the_video_are_refused(video_file, prompt, match):
    with pytest.raises(ConfigError, match=match):
        video_clip(video_file, **prompt)
