"""Real objects on others: what the large one changes for the small one."""

from pathlib import Path

import numpy as np
import pytest

from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.eval.datasets import FolderSet
from robust_vos_ros.eval.prompting import tight_box
from robust_vos_ros.eval.rendered import RenderedSet

FOOTAGE = Path(__file__).resolve().parents[3] / 'shared/davis2016_train'
NUM_FRAMES = 25
LARGE, SMALL = 2, 1

pytestmark = pytest.mark.skipif(not FOOTAGE.is_dir(), reason=f'{FOOTAGE} is not there')


@pytest.fixture(scope='module')
def frames():
    """A bear with two small objects, on training sequences alone."""
    footage = FolderSet(root=FOOTAGE, exclude='val.txt')
    clips = RenderedSet(
        kind='contact', num_clips=7, num_frames=120, size=384, seed=500, footage=footage
    )
    clip = clips.render(6)
    # From where the small one has come onto the large one.
    return [clip.frame(t) for t in range(60, 60 + NUM_FRAMES)]


def run(model, frames, prompted, *, removed_at=None):
    """Return the IoU of the small object in each frame."""
    tracker = VideoTracker(model, TrackerSettings(zoom=ZoomSettings(enabled=False)))
    scores = []
    for index, frame in enumerate(frames):
        result = tracker.step(Frame(frame.image, index * 33_333_333))
        if index == 0:
            result = tracker.add([Prompt(str(k), box=tight_box(frame.mask(k))) for k in prompted])
        if index == removed_at:
            tracker.remove([str(LARGE)])
        mask, truth = result.mask(str(SMALL)), frame.mask(SMALL)
        scores.append((mask & truth).sum() / (mask | truth).sum())
    return np.array(scores)


def test_adding_or_removing_a_large_object_does_not_change_a_small_one_on_it(model, frames):
    alone = run(model, frames, [SMALL])
    assert alone.mean() > 0.6
    for prompted in ([SMALL, LARGE], [LARGE, SMALL]):
        assert np.abs(run(model, frames, prompted) - alone).max() <= 0.05, prompted
    assert np.abs(run(model, frames, [SMALL, LARGE], removed_at=12) - alone).max() <= 0.05
