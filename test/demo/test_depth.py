"""The depth of the generated clip is true, and positions are judged by it."""

import itertools
import math

import numpy as np
import pytest

from robust_vos_ros.demo.clip import generated_clip
from robust_vos_ros.demo.depth import CAMERA
from robust_vos_ros.demo.position_report import make_position_table, score_positions
from robust_vos_ros.demo.records import FrameRecord, Recording
from robust_vos_ros.demo.scene import FISH, STAR
from robust_vos_ros.spatial.depth import DepthImage
from robust_vos_ros.spatial.locate import locate
from robust_vos_ros.spatial.settings import LocateSettings

FRAMES = range(0, 150, 10)


@pytest.fixture(scope='module')
def frames():
    clip = generated_clip(depth=True)
    wanted = itertools.islice(clip.frames(), 0, None, 10)
    return dict(zip(FRAMES, wanted, strict=True))


def test_depth_is_plausible(frames):
    for frame in frames.values():
        assert frame.depth.dtype == np.uint16
        assert frame.depth.shape == frame.rgb.shape[:2]
        assert 1000 < frame.depth.min() < frame.depth.max() <= 6000


def test_without_being_asked_for_there_is_none():
    frame = next(generated_clip(2).frames())
    assert frame.depth is None
    assert frame.truth.positions == {}


def test_true_masks_give_true_positions(frames):
    errors = {FISH: [], STAR: []}
    for frame in frames.values():
        depth = DepthImage(frame.depth, 0.001)
        for name in frame.truth.visible:
            found = locate(depth, frame.truth.masks[name], CAMERA, LocateSettings())
            true = frame.truth.positions[name]
            errors[name].append(np.linalg.norm(found.position - true) / np.linalg.norm(true))
    assert len(errors[STAR]) == len(FRAMES)
    for name, values in errors.items():
        assert np.median(values) < 0.01, name
        assert max(values) < 0.03, name


def record(frames, positions):
    records = [FrameRecord(index, index, 1.0, 1.0, objects=()) for index in range(len(frames))]
    return Recording(tuple(range(len(frames))), 0, tuple(records), (), positions)


def short_clip():
    return generated_clip(12, depth=True)


def truth_of(clip, object_id):
    shown = enumerate(clip.frames())
    return {index: tuple(frame.truth.positions[object_id]) for index, frame in shown}


def test_perfect_positions_have_no_error():
    clip = short_clip()
    positions = {name: truth_of(clip, name) for name in (FISH, STAR)}
    scores = score_positions(record(range(12), positions), clip)
    assert [item.object_id for item in scores] == [FISH, STAR]
    for item in scores:
        assert (item.visible, item.located) == (11, 11)  # the first frame was before the prompts
        assert item.error_p50 == item.error_p95 == item.error_m_p50 == 0
        assert item.failure == ''
    assert make_position_table(scores).row_count == 2


def test_errors_are_shares_of_the_range():
    clip = short_clip()
    far = {stamp: np.array(xyz) * 1.05 for stamp, xyz in truth_of(clip, FISH).items()}
    fish, _ = score_positions(record(range(12), {FISH: far}), clip)
    assert fish.error_p50 == pytest.approx(0.05)
    assert 'wrong by 5.0% of the range' in fish.failure


def test_missing_positions_are_a_failure():
    clip = short_clip()
    few = dict(itertools.islice(truth_of(clip, FISH).items(), 3))
    fish, star = score_positions(record(range(12), {FISH: few}), clip)
    assert 'a position in 2 of the 11 frames' in fish.failure
    assert star.located == 0
    assert math.isnan(star.error_p50)
    assert star.failure
