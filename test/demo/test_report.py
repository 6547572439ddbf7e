"""The numbers of a run, from recordings made by hand."""

import dataclasses
import io
import math

import pytest
from rich.console import Console

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.demo.clip import Clip, ClipFrame
from robust_vos_ros.demo.report import make_tables, summarize

BESIDE = (slice(10, 30), slice(44, 60))
HIDDEN = range(4, 6)


def good_frames(make_frame):
    """What a perfect tracker publishes for the square: no mask while it is hidden."""
    first = make_frame(0, objects=0)
    return [first, *(make_frame(i, None if i in HIDDEN else (slice(10, 30), slice(20, 40)))
                     for i in range(1, 10))]  # fmt: skip


def test_a_perfect_run(square_clip, make_frame, make_recording):
    summary = summarize(make_recording(good_frames(make_frame)), square_clip)
    assert (summary.sent, summary.processed, summary.dropped, summary.lost) == (10, 10, 0, 0)
    assert summary.latency_ms_p50 == summary.latency_ms_p95 == 20.0
    assert summary.engine_ms_p50 == 15.0
    assert summary.overhead_ms_p50 == 5.0
    assert summary.covered_share == 1.0
    assert summary.hidden == tuple(HIDDEN)
    assert summary.failure == ''
    (item,) = summary.objects
    assert item.object_id == 'square'
    assert item.final_state == 'TRACKED'
    assert item.mean_confidence == pytest.approx(0.8)
    assert (item.mask_share, item.mean_iou, item.absent_share) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ('changed', 'covered_share', 'mask_share', 'absent_share'),
    [
        ({1: None}, 5 / 6, 5 / 6, 1.0),  # one mask of six is missing
        ({1: BESIDE}, 5 / 6, 5 / 6, 1.0),  # a mask of something else is no mask of the square
        ({1: (slice(10, 30), slice(20, 31))}, 1.0, 1.0, 1.0),  # 55 % of the square are enough
        ({1: (slice(10, 30), slice(20, 29))}, 5 / 6, 5 / 6, 1.0),  # 45 % are not
        ({3: None}, 1.0, 1.0, 1.0),  # a sliver need not be found
        ({3: BESIDE}, 1.0, 1.0, 1.0),  # nor does it count as hidden
        ({4: BESIDE}, 1.0, 1.0, 0.5),  # a mask while the square is hidden is a false one
    ],
)
def test_masks_are_judged_by_the_truth(
    square_clip, make_frame, make_recording, changed, covered_share, mask_share, absent_share
):
    frames = good_frames(make_frame)
    for index, masked in changed.items():
        frames[index] = make_frame(index, masked)
    summary = summarize(make_recording(frames), square_clip)
    assert summary.covered_share == pytest.approx(covered_share)
    assert summary.objects[0].mask_share == pytest.approx(mask_share)
    assert summary.objects[0].absent_share == pytest.approx(absent_share)


def test_a_mask_that_did_not_arrive_counts_as_missing(square_clip, make_frame, make_recording):
    frames = good_frames(make_frame)
    frames[1] = dataclasses.replace(frames[1], label_png=None)
    summary = summarize(make_recording(frames), square_clip)
    assert summary.covered_share == pytest.approx(5 / 6)


def test_too_few_masks_fail_with_a_sentence(square_clip, make_frame, make_recording):
    frames = good_frames(make_frame)
    frames[1:3] = [make_frame(1, None), make_frame(2, None)]
    failure = summarize(make_recording(frames), square_clip).failure
    assert failure == (
        'only 67% of the processed frames carry a mask of what is visible, expected at least 90%'
    )


def test_a_run_that_broke_off_fails(square_clip, make_frame, make_recording):
    summary = summarize(make_recording([make_frame(0, objects=0)]), square_clip)
    assert summary.failure == 'no frame was processed after the prompt'
    assert math.isnan(summary.latency_ms_p50)


def test_dropped_and_lost_frames_are_told_apart(square_clip, make_frame, make_recording):
    frames = good_frames(make_frame)
    recording = make_recording([*frames[:4], *frames[7:]], num_dropped=2)
    summary = summarize(recording, square_clip)
    assert (summary.sent, summary.processed, summary.dropped, summary.lost) == (10, 7, 2, 1)
    assert summary.covered_share == 1.0


def test_without_truth_the_state_tells_what_is_visible(square_clip, make_frame, make_recording):
    def frames():
        yield from (ClipFrame(frame.rgb) for frame in square_clip.frames())

    clip = Clip('video.mp4', square_clip.size_hw, (), frames)
    found = [make_frame(0, objects=0), *(make_frame(index, BESIDE) for index in range(1, 8))]
    found += [make_frame(8, None, state=ObjectState.UNCERTAIN)]
    found += [make_frame(9, None, state=ObjectState.LOST)]
    summary = summarize(make_recording(found), clip)
    assert summary.covered_share == pytest.approx(7 / 8)
    assert summary.visible_share == pytest.approx(8 / 9)
    assert summary.hidden == ()
    (item,) = summary.objects
    assert item.final_state == 'LOST'
    assert item.mask_share == pytest.approx(7 / 8)
    assert math.isnan(item.mean_iou)
    assert math.isnan(item.absent_share)


def test_a_node_that_sees_nothing_fails(square_clip, make_frame, make_recording):
    def frames():
        yield from (ClipFrame(frame.rgb) for frame in square_clip.frames())

    clip = Clip('video.mp4', square_clip.size_hw, (), frames)
    found = [make_frame(0, objects=0), make_frame(1, BESIDE)]
    found += [make_frame(index, None, state=ObjectState.LOST) for index in range(2, 10)]
    assert 'visible in only 11%' in summarize(make_recording(found), clip).failure


def test_tables_fit_a_terminal_and_name_everything(square_clip, make_frame, make_recording):
    summary = summarize(make_recording(good_frames(make_frame)), square_clip)
    console = Console(file=io.StringIO(), width=80)
    for table in make_tables(summary):
        console.print(table)
    text = console.file.getvalue()
    for word in ('frames sent', 'lost', '20.0 ms', '100%', 'square', 'TRACKED', '0.80'):
        assert word in text
    assert '…' not in text
