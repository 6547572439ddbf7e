"""Bags written by rosbags: a textured square that moves, raw or as JPEG, of every kind."""

import sys

import cv2
import numpy as np
import pytest
import torch
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.process import process_bag
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings

SETTINGS = ModelSettings(name='nano', device='cpu', precision='fp32', num_threads=1)
NUM_FRAMES = 10
SIZE_HW = (120, 160)
STEP_NS = 100_000_000
START_NS = 1_700_000_000 * 10**9
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
RAW_TOPIC, JPEG_TOPIC, NOTE_TOPIC = '/camera/image_raw', '/front/image/compressed', '/note'


def texture(rng, height, width, base):
    coarse = rng.normal(0.0, 20.0, (height // 4, width // 4, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + np.array(base), 0, 255).astype(np.uint8)


@pytest.fixture(scope='session')
def pictures():
    """RGB images of a 40 px square whose left upper corner is (20 + 4 * t, 30)."""
    rng = np.random.default_rng(5)
    background = texture(rng, *SIZE_HW, (60, 110, 60))
    square = texture(rng, 40, 40, (190, 70, 70))
    images = []
    for index in range(NUM_FRAMES):
        image = background.copy()
        image[30:70, 20 + 4 * index : 60 + 4 * index] = square
        images.append(image)
    return images


class Maker:
    """Makes messages of one typestore."""

    def __init__(self, store, *, ros1=False):
        self.store, self.types, self._ros1 = store, store.types, ros1

    def header(self, index, frame_id='camera'):
        stamp_ns = START_NS + index * STEP_NS
        stamp = self.types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
        header = self.types['std_msgs/msg/Header']
        return header(index, stamp, frame_id) if self._ros1 else header(stamp, frame_id)

    def image(self, index, rgb):
        """Of (H, W, 3) uint8 RGB, or of (H, W) uint16."""
        height, width = rgb.shape[:2]
        encoding = 'rgb8' if rgb.ndim == 3 else 'mono16'
        data = np.ascontiguousarray(rgb).view(np.uint8).reshape(-1)
        step = data.size // height
        return self.types[IMAGE](self.header(index), height, width, encoding, 0, step, data)

    def jpeg(self, index, rgb):
        data = cv2.imencode('.jpg', rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        return self.types[COMPRESSED](self.header(index), 'rgb8; jpeg compressed bgr8', data)

    def note(self, index):
        return self.types['std_msgs/msg/String'](f'frame {index}')

    def rows(self, pictures, *, compressed=False):
        """Yield (topic, type, message, time of recording in ns)."""
        for index, rgb in enumerate(pictures):
            # Recorded a little after it was taken.
            log_ns = START_NS + index * STEP_NS + 5_000_000
            if compressed:
                yield JPEG_TOPIC, COMPRESSED, self.jpeg(index, rgb), log_ns
            else:
                yield RAW_TOPIC, IMAGE, self.image(index, rgb), log_ns
            yield NOTE_TOPIC, 'std_msgs/msg/String', self.note(index), log_ns + 1


def write_ros2(path, pictures, *, storage=StoragePlugin.MCAP, compressed=False, first=0):
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer2(path, version=9, storage_plugin=storage)
    if storage == StoragePlugin.MCAP:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer as bag:
        connections = {}
        rows = list(Maker(store).rows(pictures, compressed=compressed))
        for topic, msgtype, message, log_ns in rows[2 * first :]:
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, msgtype, typestore=store)
            bag.write(connections[topic], log_ns, store.serialize_cdr(message, msgtype))
    return path


def write_ros1(path, pictures, *, compressed=False, first=0):
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(path) as bag:
        connections = {}
        rows = list(Maker(store, ros1=True).rows(pictures, compressed=compressed))
        for topic, msgtype, message, log_ns in rows[2 * first :]:
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, msgtype, typestore=store)
            bag.write(connections[topic], log_ns, store.serialize_ros1(message, msgtype))
    return path


@pytest.fixture(scope='session')
def mcap_bag(pictures, tmp_path_factory):
    """A folder of rosbag2 with raw images; tests only read it."""
    return write_ros2(tmp_path_factory.mktemp('source') / 'drive', pictures)


@pytest.fixture(scope='session')
def model():
    """Nano in fp32 on one thread: the same bits wherever it runs."""
    torch.set_num_threads(1)
    return load_model(SETTINGS)


@pytest.fixture
def prompt_file(tmp_path):
    """A box around the square in the first frame."""
    path = tmp_path / 'prompts.yaml'
    path.write_text(
        'prompts:\n- {frame: 0, object_id: square, class_id: toy, box: [20, 30, 60, 70]}\n'
    )
    return path


@pytest.fixture(scope='session')
def long_prompts(tmp_path_factory):
    """Two objects, of which one comes later and one is corrected."""
    path = tmp_path_factory.mktemp('prompts') / 'prompts.yaml'
    path.write_text("""
prompts:
- {frame: 0, object_id: square, class_id: toy, box: [20, 30, 60, 70]}
- {frame: 4, object_id: corner, points: [[150, 110]]}
- {frame: 7, object_id: square, action: refine, points: [[60, 50]]}
""")
    return path


@pytest.fixture(scope='session')
def labelled_bag(model, mcap_bag, long_prompts, tmp_path_factory):
    """The bag processed with these prompts; tests only read it."""
    target = tmp_path_factory.mktemp('labelled') / 'drive_masks.mcap'
    process_bag(Job(source=mcap_bag, target=target, prompts=long_prompts, model=SETTINGS), model)
    return target


@pytest.fixture(scope='session')
def helpers():
    """This module: tests cannot import it."""
    return sys.modules[__name__]
