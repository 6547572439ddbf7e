"""The ladder of load shedding: when it goes up and down, and that it does not swing."""

import itertools
import math

import pytest

pytest.importorskip('rclpy')
from robust_vos_ros.core.reduction import Reduction
from robust_vos_ros.node.overload import Overload
from robust_vos_ros.node.settings_sections import OverloadSettings

PERIOD_S = 0.033


class Drive:
    """Plays frames to the ladder with a clock of its own.

    Args:
        costs: Time per frame of each level, in periods of the camera.
    """

    def __init__(self, costs, *, useful=(1, 2, 3), **settings):
        self.now, self.costs, self.levels = 100.0, costs, []
        self.settings = OverloadSettings(**settings)
        self.overload = Overload(
            lambda: self.settings, lambda level: level in useful, lambda: self.now
        )

    def run(self, seconds):
        """Play frames; return the level after each second."""
        levels = []
        for _ in range(seconds):
            for _ in range(round(1 / PERIOD_S)):
                self.now += PERIOD_S
                self.overload.note_arrival('')
                cost = self.costs[self.overload.report().level]
                self.overload.note_frame('', cost * PERIOD_S)
            levels.append(self.overload.report().level)
        return levels


def test_no_overload_changes_nothing():
    drive = Drive([0.9, 9, 9, 9])
    assert set(drive.run(10)) == {0}
    assert drive.overload.reduction == Reduction()
    assert drive.overload.report().text == 'level 0: nothing left out'


def test_levels_rise_one_by_one_until_the_load_is_low_enough():
    drive = Drive([1.8, 1.5, 0.9, 0.1])
    assert drive.run(6)[-1] == 2
    assert drive.overload.reduction == Reduction(one_hypothesis=True, search_interval_s=1.0)
    text = drive.overload.report().text
    assert text.startswith('level 2: fewer searches, for ')
    assert 'load 1.50: a frame takes 49.5 ms, the camera sends one each 33.0 ms' in text


def test_all_levels_are_left_when_the_load_falls():
    drive = Drive([3.0, 2.5, 2.0, 1.5])
    assert drive.run(6)[-1] == 3
    assert drive.overload.reduction.turns == 2
    drive.costs = [0.3] * 4
    assert drive.run(20)[-1] == 0
    assert drive.overload.reduction == Reduction()


def test_levels_without_effect_are_left_out():
    drive = Drive([3.0, 3.0, 3.0, 0.9], useful=(3,))
    assert set(drive.run(4)) <= {0, 3}
    assert drive.overload.report().level == 3


def test_it_does_not_swing():
    """At level 1 the load is low, at level 0 high: each attempt waits twice as long."""
    drive = Drive([1.2, 0.5, 0.5, 0.5])
    levels = drive.run(200)
    lowered = sum(before > after for before, after in itertools.pairwise(levels))
    assert 1 <= lowered <= 5


@pytest.mark.parametrize('load', [1.01, 5.0])
def test_between_the_limits_the_level_stays(load):
    drive = Drive([load, 0.8, 0.8, 0.8])
    assert drive.run(60)[-1] == 1


def test_zero_is_off_also_while_it_runs():
    off = Drive([5.0] * 4, max_level=0)
    assert set(off.run(5)) == {0}
    drive = Drive([5.0] * 4)
    assert drive.run(8)[-1] == 3
    drive.settings = OverloadSettings(max_level=0)
    assert drive.overload.reduction == Reduction()  # at once
    assert drive.run(1) == [0]


def test_cameras_add_up():
    """Each alone would fit."""
    drive = Drive([0.6] * 4)
    for _ in range(90):
        drive.now += PERIOD_S
        for camera in ('front', 'left'):
            drive.overload.note_arrival(camera)
            drive.overload.note_frame(camera, 0.6 * PERIOD_S)
    report = drive.overload.report()
    assert report.level > 0
    assert 'front: a frame takes' in report.reason
    assert 'left: a frame takes' in report.reason
    drive.now += 10
    assert math.isnan(drive.overload.report().load)  # both are silent
