import cv2
import pytest
import torch

from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.data.synthetic import SyntheticSettings, render_clip
from robust_vos_ros.train.config import TrainSettings


@pytest.fixture
def tiny_settings():
    """Return a function that makes settings of a training of seconds, on synthetic clips."""

    def make(**changes):
        values = {
            'model': 'nano',
            'steps': 4,
            'num_workers': 0,
            'num_threads': torch.get_num_threads(),
            'device': 'cpu',
            'log_every': 1,
            'data': {'batch_size': 2, 'num_frames': 3, 'long_frames': 3, 'max_objects': 1},
            'optimizer': {'warmup_steps': 2},
        }
        return parse_settings(TrainSettings, values | changes)

    return make


@pytest.fixture(scope='session')
def footage(tmp_path_factory):
    """A data set of one rendered sequence of 7 frames, with the split val.txt."""
    root = tmp_path_factory.mktemp('footage')
    clip = render_clip(3, num_frames=7, size=96, settings=SyntheticSettings(max_layers=1))
    for folder in ('JPEGImages', 'Annotations'):
        (root / folder / 'drawn').mkdir(parents=True)
    for index, image in enumerate(clip.images):
        mask = 255 * clip.masks[:, index].max(axis=0)
        cv2.imwrite(str(root / f'JPEGImages/drawn/{index:05d}.png'), image[..., ::-1])
        cv2.imwrite(str(root / f'Annotations/drawn/{index:05d}.png'), mask)
    (root / 'val.txt').write_text('drawn\n')
    return root
