import pytest
import torch

from robust_vos_ros.core.config import parse_settings
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
