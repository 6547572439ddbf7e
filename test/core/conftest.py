"""The real nano model, shared by the tests of the engine."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame

STEP_NS = 66_666_667


@pytest.fixture(scope='session')
def model():
    """Nano in fp32 and without its adapter, so that results can be compared with the reference."""
    torch.set_num_threads(1)  # the tests run in one process per core
    return load_model(ModelSettings(name='nano', device='cpu', precision='fp32', adapter='none'))


@pytest.fixture
def tracker(model):
    return VideoTracker(model, TrackerSettings(max_objects=8))


class Scene:
    """A seeded moving scene: textured discs on a textured, slowly panning background."""

    size_hw = (240, 320)

    def __init__(self, num_discs=2, seed=3):
        rng = np.random.default_rng(seed)
        self._background = _texture(rng, 400, 640, base=(70, 90, 60), contrast=18)
        self._discs = []
        for index in range(num_discs):
            color = rng.integers(90, 255, 3)
            color[index % 3] = 20
            self._discs.append(
                {
                    'texture': _texture(rng, 240, 320, base=color, contrast=15),
                    'center': np.array(
                        [60 + 200 * ((index + 0.5) / num_discs), 60 + 90 * (index % 2)]
                    ),
                    'velocity': rng.uniform(-1.2, 1.2, 2),
                    'radius': 27 + 3 * (index % 3),
                }
            )

    def masks(self, index):
        """Visible (H, W) bool masks of the discs; later discs are in front."""
        ys, xs = np.mgrid[: self.size_hw[0], : self.size_hw[1]]
        masks = []
        for disc in self._discs:
            x, y = disc['center'] + disc['velocity'] * index
            masks.append((xs - x) ** 2 + (ys - y) ** 2 <= disc['radius'] ** 2)
        for front in range(1, len(masks)):
            for back in range(front):
                masks[back] = masks[back] & ~masks[front]
        return masks

    def frame(self, index):
        height, width = self.size_hw
        rgb = self._background[20 : 20 + height, index : index + width].copy()
        for disc, mask in zip(self._discs, self.masks(index), strict=True):
            rgb[mask] = disc['texture'][mask]
        return Frame(rgb, index * STEP_NS, 'camera')


def _texture(rng, height, width, *, base, contrast):
    import cv2

    coarse = rng.normal(size=(height // 32, width // 32, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.asarray(base) + contrast * smooth, 0, 255).astype(np.uint8)


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture(scope='session')
def make_scene():
    return Scene
