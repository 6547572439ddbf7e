"""Which clips a calibration is fitted on."""

import shutil

import numpy as np
import pytest

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.eval.calibration_clips import make_clips, make_rendered
from robust_vos_ros.eval.datasets import FolderSet

SIZES = {'num_frames': 4, 'seed': 3}


def test_every_second_long_clip_shows_objects_of_the_data_set(dataset_root):
    dataset = FolderSet(root=dataset_root)
    kinds = [source.kind for source in make_rendered(dataset, range(4), **SIZES)]
    assert kinds == ['drawn objects', 'real objects'] * 2
    drawn, real = make_rendered(dataset, range(2), **SIZES)
    assert not np.array_equal(
        next(real.frames()).image,
        next(make_rendered(None, range(2), **SIZES)[1].frames()).image,
    )
    assert np.array_equal(
        next(drawn.frames()).image,
        next(make_rendered(None, range(2), **SIZES)[0].frames()).image,
    )


def test_sequences_come_clean_and_in_weather_after_the_long_clips(dataset_root):
    dataset = FolderSet(root=dataset_root)
    clips = make_clips(dataset, conditions=2, num_clips=1, **SIZES)
    assert [clip.sequence.name for clip in clips] == [
        'long-000', 'square', 'square',
    ]  # fmt: skip
    assert clips[1].corruption is None
    assert clips[2].corruption is not None


def test_excluded_sequences_are_in_no_clip(dataset_root):
    for folder in ('JPEGImages', 'Annotations'):
        shutil.copytree(dataset_root / folder / 'square', dataset_root / folder / 'other')
    dataset = FolderSet(root=dataset_root, exclude='val.txt')
    *rendered, clip = make_clips(dataset, conditions=1, num_clips=2, **SIZES)
    assert clip.sequence.name == 'other'
    assert rendered[1].sequence.dataset.footage.exclude == 'val.txt'
    missing = dataset.model_copy(update={'exclude': 'none.txt'})
    with pytest.raises(DatasetError, match=r'none\.txt'):
        make_clips(missing, conditions=1, num_clips=0, **SIZES)


def test_small_objects_on_large_ones_are_pointed_at_by_boxes(dataset_root):
    dataset = FolderSet(root=dataset_root)
    clips = make_clips(dataset, conditions=1, num_clips=1, num_contact=2, **SIZES)
    assert [clip.kind for clip in clips[:3]] == ['drawn objects', 'contact', 'contact']
    assert [clip.prompt for clip in clips] == ['mask', 'box', 'box', 'mask']
    frame = next(clips[1].frames())
    assert len(frame.masks) == 3  # two small ones, and the large one
    assert len(next(clips[2].frames()).masks) == 2
    assert not make_clips(None, conditions=1, num_clips=0, num_contact=2, **SIZES)
