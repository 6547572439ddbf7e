"""Core results to messages."""

import dataclasses
import time
import types
import uuid

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('sensor_msgs')
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from robust_vos_ros.core.types import (
    EventType,
    ObjectFlag,
    ObjectState,
    TrackedObject,
    TrackEvent,
    TrackResult,
)

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def messages():
    from robust_vos_ros.node import messages

    return messages


NAN = float('nan')
UUID = uuid.UUID('00112233-4455-6677-8899-aabbccddeeff')
CUP = TrackedObject(
    object_id='cup',
    uuid=UUID,
    label=2,
    class_id='kitchen',
    state=ObjectState.UNCERTAIN,
    confidence=0.5,
    existence_probability=0.75,
    mask_quality=0.25,
    gate_activity=NAN,
    memory_updated=True,
    path_switched=False,
    last_seen_ns=3_000_000_004,
    age_ns=1_500_000_000,
    frames_since_seen=7,
    flags=ObjectFlag.TOUCHES_BORDER | ObjectFlag.FRAGMENTED,
    box_xywh=(3, 1, 2, 2),
    centroid_xy=(3.5, 1.5),
    area_px=4,
)
GONE = dataclasses.replace(
    CUP,
    object_id='gone',
    label=1,
    state=ObjectState.LOST,
    mask_quality=NAN,
    box_xywh=(0, 0, 0, 0),
    centroid_xy=(NAN, NAN),
    area_px=0,
)


def make_result(label=2, dtype=np.uint8):
    labels = np.zeros((4, 6), dtype)
    labels[1:3, 3:5] = label
    return TrackResult(
        stamp_ns=-1,
        frame_id='camera',
        frame_index=9,
        label_mask=labels,
        mask_logits=torch.zeros(2, 1, 1),
        objects=(dataclasses.replace(CUP, label=label), GONE),
        events=(TrackEvent(EventType.LOST, 'gone', UUID, 'lost'),),
        engine_ns=2_000_000,
    )


@pytest.fixture
def header():
    value = Header(frame_id='camera')
    value.stamp.sec, value.stamp.nanosec = 5, 6
    return value


def test_flags_and_states_are_those_of_the_engine(messages):
    msg = messages.to_object(CUP)
    assert all(getattr(msg, f'FLAG_{flag.name}') == flag for flag in ObjectFlag)
    assert all(getattr(msg, f'STATE_{state.name}') == state for state in ObjectState)


def test_object(messages):
    msg = messages.to_object(CUP)
    assert (msg.object_id, msg.class_id, msg.label) == ('cup', 'kitchen', 2)
    assert bytes(msg.uuid.uuid) == UUID.bytes
    assert msg.state == msg.STATE_UNCERTAIN
    assert (msg.confidence, msg.existence_probability, msg.mask_quality) == (0.5, 0.75, 0.25)
    assert np.isnan(msg.gate_activity)
    assert (msg.last_seen.sec, msg.last_seen.nanosec) == (3, 4)
    assert (msg.age.sec, msg.age.nanosec) == (1, 500_000_000)
    assert msg.frames_since_seen == 7
    assert msg.flags == msg.FLAG_TOUCHES_BORDER | msg.FLAG_FRAGMENTED
    roi = msg.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (3, 1, 2, 2)
    assert (msg.centroid.x, msg.centroid.y, msg.centroid.z) == (3.5, 1.5, 0.0)
    assert (msg.area_px, len(msg.rle)) == (4, 0)


def test_object_array_keeps_the_header_object(messages, header):
    result = make_result()
    msg = messages.to_object_array(
        result,
        header,
        latency_ns=30_000_000,
        engine_ns=result.engine_ns,
        frames_dropped=2**40,
        rle=True,
    )
    assert msg.header is header
    assert (msg.height, msg.width, msg.frame_index) == (4, 6, 9)
    assert (msg.latency.nanosec, msg.engine_time.nanosec) == (30_000_000, 2_000_000)
    assert msg.frames_dropped == 2**32 - 1  # does not wrap
    assert [item.object_id for item in msg.objects] == ['cup', 'gone']
    assert len(msg.objects[0].rle) > 0


def test_events(messages, header):
    (msg,) = messages.to_events(make_result().events, header)
    assert (msg.type, msg.object_id, msg.detail) == (msg.LOST, 'gone', 'lost')
    assert msg.header == header


@pytest.mark.parametrize(
    ('label', 'dtype', 'encoding'),
    [
        (2, np.uint8, 'mono8'),
        (254, np.uint8, 'mono8'),
        (255, np.uint8, '16UC1'),  # 255 stands for `unlabelled`
        (300, np.uint16, '16UC1'),
        (3, np.uint16, 'mono8'),  # the engine may come back to small labels
    ],
)
def test_label_masks(messages, header, label, dtype, encoding):
    result = make_result(label, dtype)
    msg = messages.to_label_mask(result, header)
    kind = np.uint8 if encoding == 'mono8' else np.dtype('<u2')
    assert (msg.encoding, msg.is_bigendian, msg.step) == (encoding, 0, 6 * np.dtype(kind).itemsize)
    np.testing.assert_array_equal(np.frombuffer(msg.data, kind).reshape(4, 6), result.label_mask)
    png = messages.to_label_png(result, header, level=1)
    assert png.format == f'{encoding}; png compressed '
    decoded = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, result.label_mask)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_confidence_mask(messages, header, dtype):
    msg = messages.to_confidence_mask(make_result(dtype=dtype), header)
    assert msg.encoding == 'mono8'
    pixels = np.frombuffer(msg.data, np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(np.unique(pixels), [0, 128])
    assert (pixels == 128).sum() == 4


def test_overlay_leaves_the_image_alone(messages, header):
    rgb = np.full((4, 6, 3), 100, np.uint8)
    msg = messages.to_overlay(make_result(), rgb, header)
    assert (msg.encoding, msg.step, len(msg.data)) == ('rgb8', 18, 72)
    assert (rgb == 100).all()


def test_header_of_a_result(messages):
    msg = messages.to_header(make_result())
    assert (msg.stamp.sec, msg.stamp.nanosec, msg.frame_id) == (-1, 999_999_999, 'camera')


def test_large_images_are_filled_in_quickly(messages):
    """An ndarray in a uint8[] field would take a second."""
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    start = time.perf_counter()
    msg = Image(data=messages.to_bytes(pixels))
    assert time.perf_counter() - start < 0.2
    assert len(msg.data) == pixels.size


def test_tracked_boxes(messages, header, monkeypatch):
    """The fields of vision_msgs 4, filled in with stand-ins: it is not installed everywhere."""

    def stand_in(**fields):
        return lambda **given: types.SimpleNamespace(
            **{k: v() for k, v in fields.items()}, **given
        )

    box = stand_in(center=stand_in(position=types.SimpleNamespace), size_x=float, size_y=float)
    monkeypatch.setattr(messages, 'Detection2DArray', stand_in(detections=list))
    monkeypatch.setattr(messages, 'Detection2D', stand_in(bbox=box), raising=False)
    monkeypatch.setattr(
        messages,
        'ObjectHypothesisWithPose',
        stand_in(hypothesis=types.SimpleNamespace),
        raising=False,
    )
    (detection,) = messages.to_tracked_boxes(make_result(), header).detections  # not the lost one
    assert (detection.id, detection.header) == ('cup', header)
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (4.0, 2.0)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (2.0, 2.0)
    hypothesis = detection.results[0].hypothesis
    assert (hypothesis.class_id, hypothesis.score) == ('kitchen', 0.5)
