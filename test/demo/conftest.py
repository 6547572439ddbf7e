"""Small clips and recordings for the demo's tests, and a ROS domain for those that need one."""

import contextlib
import os
import random
import warnings

import cv2
import numpy as np
import pytest

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.demo.clip import Clip, ClipFrame, Truth
from robust_vos_ros.demo.processes import find_free_domain
from robust_vos_ros.demo.records import FrameRecord, ObjectRecord, Recording

with contextlib.suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of lark, which the message packages load on first use
    import rosidl_generator_py  # noqa: F401

SIZE_HW = (48, 64)
SQUARE = (slice(10, 30), slice(20, 40))


@pytest.fixture
def domain(monkeypatch):
    """A free ROS domain, in the environment of this process and its children."""
    number = find_free_domain(random.Random())
    monkeypatch.setenv('ROS_DOMAIN_ID', str(number))
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.delenv('ROS_LOCALHOST_ONLY', raising=False)
    return number


@pytest.fixture
def video_file(tmp_path):
    """An mp4 of 30 frames at 30 Hz, 80 x 60: grey, each frame brighter than the one before."""
    path = tmp_path / 'grey.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 30.0, (80, 60))
    assert writer.isOpened()
    for index in range(30):
        writer.write(np.full((60, 80, 3), 8 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture
def square_clip():
    """A clip with known truth: a square, a sliver of it in frame 3, hidden in frames 4 and 5."""

    def frames():
        for index in range(10):
            mask = np.zeros(SIZE_HW, bool)
            if index == 3:
                mask[10:30, 20:22] = True
            elif index not in {4, 5}:
                mask[SQUARE] = True
            visible = frozenset({'square'} if index not in {3, 4, 5} else ())
            rgb = np.where(mask[..., None], 200, 50).repeat(3, -1).astype(np.uint8)
            yield ClipFrame(rgb, Truth({'square': mask}, visible))

    return Clip('square', SIZE_HW, (), frames)


@pytest.fixture
def make_frame():
    """Return a processed frame with one object, `masked` where the label mask has it."""

    def make(
        index,
        masked=SQUARE,
        *,
        state=ObjectState.TRACKED,
        confidence=0.8,
        latency_ms=20.0,
        objects=1,
    ):
        labels = np.zeros(SIZE_HW, np.uint8)
        if masked is not None:
            labels[masked] = 1
        jpeg = cv2.imencode('.jpg', np.full((*SIZE_HW, 3), min(10 * index, 255), np.uint8))[
            1
        ].tobytes()
        item = ObjectRecord('square', 1, state, confidence, int(labels.sum()))
        return FrameRecord(
            index=index,
            stamp_ns=10**9 + index * 10**8,
            latency_ms=latency_ms,
            engine_ms=15.0,
            objects=(item,) * objects,
            label_png=cv2.imencode('.png', labels)[1].tobytes(),
            overlay_jpeg=jpeg,
        )

    return make


@pytest.fixture
def make_recording():
    """Return a recording of frames, of which the camera sent ten."""

    def make(frames, *, num_dropped=0):
        sent_ns = tuple(10**9 + index * 10**8 for index in range(10))
        return Recording(sent_ns, num_dropped, tuple(frames), ())

    return make


@pytest.fixture
def no_domain(monkeypatch):
    """An environment as a user has it: no ROS settings."""
    for name in list(os.environ):
        if name.startswith(('ROS_DOMAIN', 'ROS_AUTOMATIC', 'ROS_LOCALHOST', 'FAST')):
            monkeypatch.delenv(name)
