"""Messages as JSON and images as pictures."""

import io
import json
import struct
import types

import cv2
import numpy as np
import PIL.Image
import pytest

from robust_vos_ros.console import pictures, views
from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.visualization import label_colors


def make(**fields):
    return types.SimpleNamespace(**fields)


def make_item(**changes):
    fields = {
        'object_id': 'cup', 'class_id': '', 'label': 2, 'state': 3, 'confidence': 0.12345,
        'mask_quality': float('nan'), 'flags': 16 + 2, 'area_px': 30,
        'age': make(sec=1, nanosec=5), 'roi': make(x_offset=4, y_offset=3, width=6, height=5),
    }  # fmt: skip
    return make(**fields | changes)


@pytest.fixture
def labels():
    labels = np.zeros((20, 30), np.uint8)
    labels[3:8, 4:10] = 2
    labels[14:18, 20:24] = 2
    labels[10:12, 1:9] = 1
    return labels


def test_an_object_has_the_colour_of_the_overlay_and_its_outlines(labels):
    item = views.to_object(make_item(), labels)
    assert item['color'] == '#' + bytes(label_colors()[2]).hex()
    assert (item['state'], item['confidence'], item['quality']) == ('OCCLUDED', 0.123, None)
    assert item['flags'] == ['AREA_JUMP', 'PROMPT_MISFIT']
    assert item['box'] == [4, 3, 6, 5]
    outlines = {frozenset(zip(part[::2], part[1::2], strict=True)) for part in item['outlines']}
    assert outlines == {
        frozenset({(4, 3), (4, 7), (9, 3), (9, 7)}),
        frozenset({(20, 14), (20, 17), (23, 14), (23, 17)}),
    }
    assert views.to_object(make_item(area_px=0), labels)['outlines'] == []


def test_a_frame_is_json_and_a_picture(labels):
    array = make(
        objects=[make_item()], frame_index=7, frames_dropped=2,
        latency=make(sec=0, nanosec=41_500_000), engine_time=make(sec=0, nanosec=30_000_000),
    )  # fmt: skip
    head = views.to_frame(array, labels, stamp=[1, 2], size=(30, 20))
    data = views.pack(head, b'JPEG')
    (length,) = struct.unpack('>I', data[:4])
    found = json.loads(data[4 : 4 + length])
    assert data[4 + length :] == b'JPEG'
    assert (found['latency_ms'], found['dropped'], found['size']) == (41.5, 2, [30, 20])
    assert found['objects'][0]['id'] == 'cup'
    assert views.to_frame(None, None, stamp=[1, 2], size=(30, 20))['objects'] is None


def test_outlines_are_bounded():
    labels = np.zeros((100, 100), np.uint8)
    labels[::4, ::4] = 1  # 625 specks
    assert len(views.outlines_of(labels, 1)) == 32


def test_health_is_that_of_the_node_and_bounded():
    value = make(key='last error', value='x' * 10_000)
    status = make(
        name='a/robust_vos: tracker', level=b'\x02', message='failed', values=[value] * 500
    )
    other = make(name='robust_vos: tracker', level=b'\x00', message='tracking', values=[])
    health = views.to_health([other, status], '/a/robust_vos')
    assert (health['level'], health['message']) == ('ERROR', 'failed')
    assert len(views.to_json(health)) < 2000
    assert views.to_health([status], '/b/robust_vos') is None


def header(number=1):
    return make(stamp=make(sec=number, nanosec=0), frame_id='')


def raw_image(rgb, number=1):
    height, width = rgb.shape[:2]
    return make(
        header=header(number), height=height, width=width, encoding='rgb8', step=3 * width,
        is_bigendian=0, data=rgb.tobytes(),
    )  # fmt: skip


def packed_image(data, form='rgb8; jpeg compressed bgr8'):
    return make(header=header(), format=form, data=data)


def encode(pixels, kind, **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


TURNED = PIL.Image.Exif()
TURNED[0x0112] = 6
RGB = np.full((40, 60, 3), (200, 60, 20), np.uint8)


def decode(picture):
    return cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    ('msg', 'same'),
    [
        (packed_image(encode(RGB, 'JPEG')), True),
        (packed_image(encode(RGB, 'PNG')), True),
        (packed_image(encode(RGB, 'WEBP')), False),  # not of every browser
        (packed_image(encode(RGB[..., ::-1], 'JPEG'), 'rgb8; jpeg compressed rgb8'), False),
        (packed_image(encode(RGB, 'JPEG', exif=TURNED)), False),
        (raw_image(RGB), False),
    ],
    ids=['jpeg', 'png', 'webp', 'red is blue', 'turned', 'raw'],
)  # fmt: skip
def test_pictures_look_as_the_node_sees_them(msg, same):
    picture = pictures.make_picture(msg, max_width=100, quality=90)
    assert picture.size == (60, 40)
    assert (picture.data == bytes(msg.data)) == same
    if 'compressed rgb' not in getattr(msg, 'format', ''):
        assert np.abs(decode(picture).astype(int) - RGB).max() < 12
    assert decode(picture).shape == RGB.shape


def test_wide_pictures_are_made_smaller():
    for msg in (raw_image(RGB), packed_image(encode(RGB, 'JPEG'))):
        picture = pictures.make_picture(msg, max_width=30, quality=90)
        assert decode(picture).shape == (20, 30, 3)
        assert picture.size == (60, 40)  # prompts are in pixels of the image


@pytest.mark.parametrize(
    'msg',
    [
        packed_image(b'\xff\xd8\xff' + b'x' * 50),
        packed_image(b''),
        packed_image(b'GIF89a' + b'x' * 50),
        make(**vars(raw_image(RGB)) | {'step': 1}),
    ],
)
def test_damaged_images_are_no_pictures(msg):
    with pytest.raises(ImageError):
        pictures.make_picture(msg, max_width=100, quality=90)


def test_recent_images_are_bounded(monkeypatch):
    monkeypatch.setattr(pictures, 'MAX_KEPT', 4)
    recent = pictures.RecentImages()
    assert recent.newest() is None
    for number in range(10):
        recent.add(raw_image(RGB, number))
    recent.add(raw_image(RGB, 9))  # the same stamp again
    assert recent.find((5, 0)) is None
    assert recent.find((6, 0)).header.stamp.sec == 6
    assert recent.newest().header.stamp.sec == 9
    monkeypatch.setattr(pictures, 'MAX_KEPT_BYTES', RGB.nbytes + 1)
    recent.add(raw_image(RGB, 11))
    assert recent.find((9, 0)) is None
    assert recent.newest().header.stamp.sec == 11
