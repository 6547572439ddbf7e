"""The frames that a prompt may still refer to: how many, and what a step back in time leaves."""

import numpy as np
import pytest

from robust_vos_ros.core.errors import NoFrameError, StampInFutureError, StampTooOldError
from robust_vos_ros.core.frames import ProcessedFrames
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame

NS = 10**9
SIDE = 8
BYTES = 3 * SIDE**2


def frame(stamp_s):
    return Frame(np.zeros((SIDE, SIDE, 3), np.uint8), round(stamp_s * NS))


def filled(*stamps_s, seconds=30.0, max_frames=1000):
    history = ProcessedFrames(seconds, max_frames * BYTES, SIDE)
    for stamp_s in stamps_s:
        history.append(frame(stamp_s))
    return history


def test_without_frames():
    with pytest.raises(NoFrameError):
        filled().locate(None)


def test_the_whole_time_is_kept_at_a_high_rate():
    history = filled(*(number / 100 for number in range(1000)), seconds=9.0)
    assert len(history) == 901
    _, newer = history.locate(frame(1.0))
    assert len(newer) == 899


def test_memory_bounds_it():
    history = filled(*range(10), max_frames=4)
    assert len(history) == 4
    assert len(filled(1.0, 2.0, max_frames=0)) == 1  # the newest one always


TIME, MEMORY = r'tracking\.prompt_buffer_s', r'tracking\.prompt_buffer_mb'


@pytest.mark.parametrize(
    ('limits', 'stamp_s', 'advice'),
    [
        ({'max_frames': 4}, 5.0, f'raise {MEMORY}$'),
        ({'seconds': 4.0}, 4.0, f'raise {TIME}$'),
        ({'max_frames': 4, 'seconds': 4.0}, 4.0, f'raise {TIME} and {MEMORY}$'),
        ({'max_frames': 4, 'seconds': 4.0}, 5.5, f'raise {MEMORY}$'),  # not so long ago
        (
            {},
            -1.0,
            r'no image came before; use the stamp of a newer one$',
        ),  # no setting would help
    ],
)
def test_an_error_names_the_setting_that_limits(limits, stamp_s, advice):
    with pytest.raises(StampTooOldError, match=advice):
        filled(*range(10), **limits).locate(frame(stamp_s))


@pytest.mark.parametrize(('image_size', 'rate_hz'), [(256, 640), (1024, 40)])
def test_how_far_the_default_memory_reaches(image_size, rate_hz):
    """As the description of the setting and the CHANGELOG say."""
    settings = TrackerSettings()
    num_bytes = 3 * image_size**2 * settings.prompt_buffer_s * rate_hz
    assert 0.95 < num_bytes / (settings.prompt_buffer_mb * 1e6) <= 1


@pytest.mark.parametrize(
    ('stamps_s', 'kept_s'),
    [
        ((1.0, 1.1, 1.2, 1.15), (1.0, 1.1, 1.15)),  # a clock correction
        ((1.0, 1.1, 1.2, 1.0), (1.0, 1.0)),  # two frames of one time
        ((5.0, 5.1, 1.0), (1.0,)),  # a bag starts again
    ],
)
def test_a_step_back_in_time_drops_what_is_newer(stamps_s, kept_s):
    history = filled(*stamps_s)
    assert [record.stamp_ns / NS for record in history._records] == list(kept_s)
    assert history.num_frames == len(stamps_s)


def test_a_prompt_after_a_clock_correction_still_finds_its_frame():
    history = filled(1.0, 1.1, 1.2, 1.15)
    record, newer = history.locate(frame(1.1))
    assert (record.frame_index, [item.frame_index for item in newer]) == (1, [3])
    with pytest.raises(StampInFutureError):
        history.locate(frame(1.3))
