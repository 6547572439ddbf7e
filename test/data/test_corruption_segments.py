"""Weather of a long clip."""

import itertools

import numpy as np

from robust_vos_ros.data.corruption import ROBUSTPVOS
from robust_vos_ros.data.corruption_segments import CorruptionSchedule


def course(seed=0, num_frames=2400):
    return CorruptionSchedule(np.random.default_rng(seed), num_frames, 30.0)


def test_each_corruption_comes_before_one_comes_again_with_clean_frames_between():
    segments = course().segments
    names = [segment.corruption for segment in segments]
    assert len(names) >= 8
    assert sorted(names[:8]) == sorted(ROBUSTPVOS)
    for before, after in itertools.pairwise(segments):
        assert after.start - (before.start + before.profile.num_frames) >= 30


def test_severity_rises_and_falls():
    weather = course()
    for segment in weather.segments[:-1]:
        frames = range(segment.start - 2, segment.start + segment.profile.num_frames + 2)
        severities = np.array([weather.at(t)[1] for t in frames])
        assert not severities[[0, 1, -2, -1]].any()
        assert 0.5 < severities.max() <= 5.0
        assert np.abs(np.diff(severities)).max() < 0.6


def test_frames_are_clean_or_spoilt_as_told():
    image = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
    weather, again, other = course(num_frames=600), course(num_frames=600), course(1, 600)
    changed = []
    for t in range(0, 600, 20):
        spoilt = weather.apply(image, t)
        assert np.array_equal(spoilt, again.apply(image, t))
        name, severity = weather.at(t)
        assert bool(name) == (severity > 0.0)
        if not name:
            assert np.array_equal(spoilt, image)
        changed.append(not np.array_equal(spoilt, other.apply(image, t)))
    assert any(changed)
