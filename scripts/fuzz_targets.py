"""What is fuzzed: one function of bytes per input that comes from outside.

A target returns for bytes it can use, and for bytes that are refused with the documented error.
Any other exception, a wrong result or a hang is a find. `scripts/fuzz.py` searches for such bytes;
`test/test_fuzz_corpus.py` replays those in test/corpus.
"""

from __future__ import annotations

import contextlib
import functools
import json
import struct
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import safetensors.torch
import torch

from robust_vos_ros.bags.prompts import load_prompt_file, make_plan
from robust_vos_ros.bags.reader import BagReader
from robust_vos_ros.bags.repair import repair_bag
from robust_vos_ros.console import protocol
from robust_vos_ros.core.adapters.files import load_adapter, make_adapter
from robust_vos_ros.core.adapters.moga import AdapterSettings
from robust_vos_ros.core.confidence.calibration import read_calibration
from robust_vos_ros.core.errors import (
    BagError,
    ConfigError,
    ImageError,
    PromptError,
    SavedTracksError,
    WeightsError,
)
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import ModelSpec
from robust_vos_ros.core.prompting.prompts import MAX_NAME, MAX_POINTS, check_prompt
from robust_vos_ros.core.settings import ModelSettings, load_yaml, parse_settings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.ros_types.images import ENCODINGS, MAX_DECODED_PIXELS, to_frame
from robust_vos_ros.ros_types.messages import encode_rle

_NAMES = (*ENCODINGS, 'none')
_MAX_MESSAGES = 1000  # read of one bag
_BAG_ENDINGS = ('.mcap', '.db3', '.bag')


class Reader:
    """Takes values from the front of bytes; zeros after their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, number: int) -> bytes:
        """Return so many bytes."""
        head, self._data = self._data[:number], self._data[number:]
        return head.ljust(number, b'\0')

    def number(self, form: str) -> Any:
        """Return one value of a format of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        """Return a text with its length in front."""
        return self.take(self.number('<H') % 600).decode('utf-8', 'replace')

    def rest(self) -> bytes:
        """Return all that is left."""
        data, self._data = self._data, b''
        return data


def image(data: bytes) -> None:
    """Decode a sensor_msgs/Image or CompressedImage of any fields."""
    reader = Reader(data)
    stamp = types.SimpleNamespace(sec=1, nanosec=2)
    header = types.SimpleNamespace(stamp=stamp, frame_id='camera')
    kind = reader.number('<B')
    if kind % 2:
        forms = ('rgb8; jpeg compressed bgr8', 'bayer_rggb8; png', 'jpeg')
        form = reader.text() if kind >> 1 == len(forms) else forms[(kind >> 1) % len(forms)]
        msg = types.SimpleNamespace(header=header, format=form, data=reader.rest())
    else:
        msg = types.SimpleNamespace(
            header=header,
            encoding=_NAMES[reader.number('<B') % len(_NAMES)],
            height=reader.number('<I'),
            width=reader.number('<I'),
            step=reader.number('<I'),
            is_bigendian=reader.number('<B'),
            data=reader.rest(),
        )
    with contextlib.suppress(ImageError):
        frame = to_frame(msg)
        height, width, channels = frame.rgb.shape
        assert (channels, frame.rgb.dtype) == (3, np.uint8)
        assert 0 < height * width <= MAX_DECODED_PIXELS


def prompt(data: bytes) -> None:
    """Check a prompt of any numbers against an image of any size."""
    reader = Reader(data)
    size_hw = (reader.number('<H') % 64 + 1, reader.number('<H') % 64 + 1)
    num_points, num_labels = reader.number('<B'), reader.number('<B')
    fields: dict[str, Any] = {'object_id': reader.text(), 'class_id': reader.text()}
    points = np.frombuffer(reader.take(8 * num_points), np.float32).reshape(-1, 2)
    labels = np.frombuffer(reader.take(4 * num_labels), np.int32)
    what = reader.number('<B')
    if what & 1:
        fields |= {'points': points, 'point_labels': labels}
    if what & 2:
        fields['box'] = np.frombuffer(reader.take(16), np.float32)
    if what & 4:
        shape = size_hw if what & 8 else (reader.number('<B'), reader.number('<B'))
        fields['mask'] = np.frombuffer(reader.take(int(np.prod(shape))), np.uint8).reshape(shape)
    with contextlib.suppress(PromptError):
        checked = check_prompt(Prompt(**fields), size_hw)
        height, width = size_hw
        assert 0 < len(checked.object_id) <= MAX_NAME
        assert len(checked.points) == len(checked.point_labels) <= MAX_POINTS
        assert ((checked.points >= 0) & (checked.points < (width, height))).all()
        if checked.box is not None:
            x0, y0, x1, y1 = checked.box
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def rle(data: bytes) -> None:
    """Encode a mask as every COCO tool reads it."""
    reader = Reader(data)
    height, width = reader.number('<B') + 1, reader.number('<B') + 1
    bits = np.frombuffer(reader.take((height * width + 7) // 8), np.uint8)
    mask = np.unpackbits(bits)[: height * width].reshape(height, width).astype(bool)
    counts = encode_rle(mask)
    decoded = pycocotools.mask.decode({'size': [height, width], 'counts': counts})
    assert np.array_equal(decoded.astype(bool), mask)


@functools.cache
def _model() -> Model:
    settings = ModelSettings(name='nano', device='cpu', precision='fp32', num_threads=1)
    return load_model(settings)


def _with_hash(data: bytes) -> bytes:
    """Return data with the hash of the weights for the word WEIGHTS: seeds outlive a training."""
    return data.replace(b'WEIGHTS', _model().weights_hash.encode())


@functools.cache
def _tracks() -> tuple[VideoTracker, dict[str, torch.Tensor]]:
    """Return an empty tracker, and the tensors of saved tracks."""
    rgb = np.full((48, 64, 3), 90, np.uint8)
    rgb[12:36, 20:44] = (220, 180, 30)
    tracker = VideoTracker(_model(), TrackerSettings(max_objects=2))
    tracker.step(Frame(rgb, 1, ''))
    tracker.add([Prompt('a', box=np.array([20, 12, 44, 36], np.float32))])
    data = tracker.save()
    tracker.reset()
    return tracker, safetensors.torch.load(data)


def state_file(data: bytes) -> None:
    """Restore saved tracks: a header of any text (first byte even) or any bytes."""
    tracker, tensors = _tracks()
    if data[:1] and data[0] % 2 == 0:
        text = _with_hash(data[1:]).decode('utf-8', 'replace')
        data = safetensors.torch.save(tensors, {'robust_vos': text})
    with contextlib.suppress(SavedTracksError):
        tracker.restore(data[: 1 << 24], lost=True)
    tracker.reset()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path('/dev/shm')  # noqa: S108  a folder of its own is made there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def bag(data: bytes) -> None:
    """Read all messages of a bag; the first byte is the kind of the file."""
    with _folder() as folder:
        path = folder / f'bag{_BAG_ENDINGS[data[0] % 3 if data else 0]}'
        path.write_bytes(data[1:])
        with contextlib.suppress(BagError), BagReader(path) as reader:
            for number, message in enumerate(reader.messages()):
                with contextlib.suppress(BagError, ImageError):
                    if reader.topics[message.topic].is_image:
                        reader.frame(message)
                    else:
                        reader.decode(message)
                if number == _MAX_MESSAGES:
                    break


def repair(data: bytes) -> None:
    """Repair an MCAP file; the result can be read and has as many messages."""
    with _folder() as folder:
        path, out = folder / 'bag.mcap', folder / 'out.mcap'
        path.write_bytes(data)
        with contextlib.suppress(BagError):
            repaired = repair_bag(path, out)
            assert repaired.num_messages > 0
            assert out.is_file()


def prompts_yaml(data: bytes) -> None:
    """Read a prompt file and make the plan of a bag of ten frames."""
    with _folder() as folder, contextlib.suppress(ConfigError, PromptError):
        path = folder / 'prompts.yaml'
        path.write_bytes(data)
        frame_of = {1_000_000_000 + index: index for index in range(10)}
        make_plan(load_prompt_file(path), folder, num_frames=10, frame_of=frame_of)


def model_yaml(data: bytes) -> None:
    """Read a model file; building the network is for trusted files only."""
    with _folder() as folder, contextlib.suppress(ConfigError):
        path = folder / 'model.yaml'
        path.write_bytes(data)
        parse_settings(ModelSpec, {'name': 'model', **load_yaml(path)})


@functools.cache
def _adapter() -> dict[str, torch.Tensor]:
    """Return the tensors of an untrained adapter."""
    return make_adapter(_model(), AdapterSettings(layer_norms='none')).state_dict()


def adapter(data: bytes) -> None:
    """Read an adapter: a header of any text (first byte even) or any bytes."""
    tensors = _adapter()
    if data[:1] and data[0] % 2 == 0:
        text = _with_hash(data[1:]).decode('utf-8', 'replace')
        data = safetensors.torch.save(tensors, {'robust_vos': text})
    with _folder() as folder, contextlib.suppress(WeightsError):
        path = folder / 'adapter.safetensors'
        path.write_bytes(data)
        load_adapter(path, _model())


def calibration(data: bytes) -> None:
    """Read a calibration file."""
    model = _model()
    with _folder() as folder, contextlib.suppress(WeightsError):
        path = folder / 'nano.calibration.json'
        path.write_bytes(_with_hash(data))
        read_calibration(
            path, model=model.name, weights_sha256=model.weights_hash, hidden_dim=model.hidden_dim
        )


def websocket(data: bytes) -> None:
    """Parse a message of a browser."""
    text = data.decode('utf-8', 'replace')
    with contextlib.suppress(protocol.ProtocolError):
        message = protocol.parse(text)
        json.dumps(protocol.make_answer(getattr(message, 'id', None), {}))


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        image, prompt, rle, state_file, bag, repair, prompts_yaml, model_yaml, adapter,
        calibration, websocket,
    )
}  # fmt: skip
