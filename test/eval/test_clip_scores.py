"""Short clips with several objects, on the shipped nano and rendered clips."""

from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from robust_vos_ros.core.errors import DatasetError, ImageError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.synthetic import SyntheticSettings, render_clip
from robust_vos_ros.eval import clip_scores
from robust_vos_ros.eval.clip_scores import (
    make_clip_report,
    make_clip_table,
    make_size_report,
    score_clips,
)
from robust_vos_ros.eval.metrics import score_sequence


@pytest.fixture(scope='module')
def nano():
    return load_model(ModelSettings(device='cpu'))


def render(seed, num_frames=5):
    settings = SyntheticSettings(max_layers=3, min_area=0.03)
    return render_clip(seed, num_frames=num_frames, size=96, settings=settings)


def visible(clip):
    return clip.masks[clip.masks[:, 0].mean(axis=(1, 2)) >= 0.001].astype(bool)


def test_objects_are_followed_alone_and_together(nano):
    clips = [render(seed) for seed in range(3)]
    counts = [len(visible(clip)) for clip in clips]
    assert max(counts) > 1
    done = []
    first, second = score_clips(
        {'one': nano, 'two': nano}, iter(clips), on_clip=lambda: done.append(1)
    )
    assert len(done) == 3
    assert (first.alone, first.together) == (second.alone, second.together), 'same bits'
    assert first.num_objects == sum(counts)
    assert 0.5 < first.alone.j <= 1.0
    assert 0.5 < first.together.j <= 1.0
    assert first.alone != first.together, 'together they compete for pixels'

    console = Console(width=120)
    with console.capture() as capture:
        console.print(make_clip_table([first, second], 'several objects'))
    assert f'{100 * first.together.jf:.1f}' in capture.get()
    report = make_clip_report([first, second])
    assert [entry['name'] for entry in report] == ['one', 'two']
    assert report[0]['alone']['j'] == round(100 * first.alone.j, 2)


def test_the_mean_is_over_objects_and_absent_ones_count_as_davis_counts(monkeypatch):
    masks = np.zeros((4, 6, 16, 16), np.uint8)
    masks[0, :, :8] = 1
    masks[1, :3, 8:] = 1  # out of view from frame 3 on
    masks[2, 3:] = 1  # not there in the first frame: not followed
    masks[3, :, 0, 0] = 1
    several = Clip('several', np.zeros((6, 16, 16, 3), np.uint8), masks)
    single = Clip('single', several.images, masks[:1])

    def keep_first_masks(model, images, prompts):
        shown = {prompt.object_id: prompt.mask for prompt in prompts}
        states = [SimpleNamespace(object_id='0', state=ObjectState.TRACKED)]
        return [SimpleNamespace(mask=shown.get, objects=states) for _ in images]

    monkeypatch.setattr(clip_scores, 'track_prompts', keep_first_masks)
    (row,) = score_clips({'copy': None}, [several, single], min_area=0.01)
    assert row.num_objects == 3
    # Of frames 1 to 4 the second object is there in two, and has a wrong mask in the others.
    truth = list(masks[1].astype(bool))
    assert score_sequence([truth[0]] * 6, truth).j == 0.5
    assert row.alone.j == row.together.j == pytest.approx((1.0 + 0.5 + 1.0) / 3)
    assert [one.tracked for one in row.objects] == [1.0, 0.0, 1.0]
    (large,) = make_size_report(row)
    assert large['share_of_image'] == (0.1, 1.0)
    assert (large['objects'], large['tracked']) == (3, 66.67)
    assert large['jf'] == row.together.percents['jf']


@pytest.mark.parametrize(
    ('clips', 'error', 'message'),
    [
        ([], DatasetError, 'got none'),
        ([Clip('x', np.zeros((3, 8, 8, 3), np.uint8), np.zeros((1, 3, 8, 8), np.uint8))],
         DatasetError, 'first frame'),
        ([render(0, num_frames=2)], ImageError, 'more than 2 frames'),
    ],
    ids=['no clip', 'no object', 'too short'],
)  # fmt: skip
def test_clips_that_cannot_be_scored_are_told(nano, clips, error, message):
    with pytest.raises(error, match=message):
        score_clips({'nano': nano}, clips)
