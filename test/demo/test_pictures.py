"""Contact sheet and video of a run."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.demo.pictures import make_contact_sheet, pick_frames, write_video


def indices(frames):
    return [frame.index for frame in frames]


@pytest.mark.parametrize(
    ('num_frames', 'expected'),
    [
        (3, 3),  # fewer than the sheet has room for
        (16, 16),
        (100, 16),
    ],
)
def test_picked_frames_span_the_run(make_frame, num_frames, expected):
    frames = [make_frame(index) for index in range(num_frames)]
    picked = indices(pick_frames(frames))
    assert len(picked) == expected
    assert picked[0] == 0
    assert picked[-1] == num_frames - 1
    assert np.ptp(np.diff(picked)) <= 7  # about even


def test_frames_around_a_known_occlusion_are_always_picked(make_frame):
    frames = [make_frame(index) for index in range(100)]
    picked = indices(pick_frames(frames, hidden=range(41, 46)))
    assert {40, 43, 46} <= set(picked)
    assert len(picked) == 16


@pytest.mark.parametrize(
    ('masked', 'state'),
    [
        (None, ObjectState.UNCERTAIN),  # no mask
        (..., ObjectState.OCCLUDED),  # state says it
        (..., ObjectState.LOST),  # the same
    ],
)
def test_frames_around_a_published_loss_are_picked(make_frame, masked, state):
    frames = [make_frame(index) for index in range(100)]
    frames[41:46] = [make_frame(index, masked, state=state) for index in range(41, 46)]
    assert {40, 43, 46} <= set(indices(pick_frames(frames)))


def test_many_losses_leave_room_for_the_rest(make_frame):
    frames = [make_frame(index, None if index % 3 else ...) for index in range(100)]
    picked = indices(pick_frames(frames))
    assert len(picked) == 16
    assert max(np.diff(picked)) < 40


def test_contact_sheet_shows_sixteen_tiles(make_frame):
    frames = [make_frame(index % 25) for index in range(40)]
    sheet = make_contact_sheet(frames)
    height, width, channels = sheet.shape
    assert channels == 3
    assert sheet.dtype == np.uint8
    assert width % 4 == height % 4 == 0
    captions = sheet[height // 4 - 40 : height // 4 - 10, : width // 4]
    assert captions.max() == 255  # white text
    blue = label_color_share(captions)
    assert blue > 0.001  # the patch with the colour of the object


def label_color_share(picture):
    """Share of strongly coloured pixels."""
    values = picture.astype(int)
    return float((values.max(axis=-1) - values.min(axis=-1) > 150).mean())


def test_frames_without_overlay_are_left_out(make_frame):
    frames = [make_frame(index) for index in range(5)]
    assert make_contact_sheet(frames[:1]).shape == make_contact_sheet(frames[:4]).shape


def test_video_shows_the_last_overlay_where_a_frame_was_dropped(tmp_path, make_frame):
    path = tmp_path / 'demo.mp4'
    frames = [make_frame(index) for index in (0, 1, 2, 8, 9)]
    write_video(path, frames, num_sent=12, rate_hz=15.0)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(15.0)
    shown = []
    while True:
        ok, picture = video.read()
        if not ok:
            break
        shown.append(picture.mean() / 10)
    video.release()
    assert np.allclose(shown, [0, 1, 2, 2, 2, 2, 2, 2, 8, 9, 9, 9], atol=0.5)
