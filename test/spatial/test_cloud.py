"""Organised point clouds: read as depth, and cropped to masks."""

import types

import numpy as np
import pytest

from robust_vos_ros.spatial.camera import Camera
from robust_vos_ros.spatial.cloud import POINT, POINT_WITHOUT_COLOR, crop_cloud, read_cloud
from robust_vos_ros.spatial.depth import DepthError, DepthImage
from robust_vos_ros.spatial.rigid import IDENTITY, Rigid

SIZE_HW = (24, 32)
CAMERA = Camera(40.0, 40.0, 15.5, 11.5, SIZE_HW)
FLOAT32, FLOAT64, UINT16 = 7, 8, 4  # of sensor_msgs/PointField
METRES = np.array([[1.0, 2.0, np.nan], [3.0, np.inf, -1.0]])
KNOWN = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]], np.float32)


def make_cloud(metres=METRES, kind='<f4', datatype=FLOAT32, padding=0, **changes):
    height, width = metres.shape
    dtype = np.dtype({'names': ['x', 'z'], 'formats': [kind] * 2, 'offsets': [0, 8]})
    points = np.zeros((height, width), dtype)
    points['z'] = metres
    rows = points.view(np.uint8).reshape(height, -1)
    data = np.pad(rows, ((0, 0), (0, padding))).tobytes()
    names = [types.SimpleNamespace(name=name, offset=at, datatype=datatype) for name, at in
             (('x', 0), ('z', 8))]  # fmt: skip
    fields = {
        'height': height, 'width': width, 'fields': names, 'is_bigendian': kind[0] == '>',
        'point_step': dtype.itemsize, 'row_step': rows.shape[1] + padding, 'data': data,
    }  # fmt: skip
    return types.SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'kind': '>f4'},
        {'kind': '<f8', 'datatype': FLOAT64},
        {'padding': 5},  # rows are aligned, and floats are not
    ],
)
def test_z_is_depth(options):
    found = read_cloud(make_cloud(**options)).sample(np.arange(2), np.arange(3), (2, 3))
    np.testing.assert_array_equal(found, KNOWN)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'metres': METRES[:1]}, 'organised'),  # a list of points
        ({'height': 0}, 'organised'),
        ({'width': 0}, 'organised'),
        ({'fields': []}, 'without z.*none'),
        ({'datatype': UINT16}, 'FLOAT32'),
        ({'point_step': 8}, 'point_step 8'),  # z would be in the next point
        ({'row_step': 12}, 'row_step 12'),
        ({'data': b'123'}, 'cut off'),
        ({'height': 3}, 'cut off'),
    ],
)
def test_broken_clouds(changes, words):
    with pytest.raises(DepthError, match=words):
        read_cloud(make_cloud(**changes))


def make_scene():
    """Two squares, 1 and 2 m away, on a background at 4 m; the first has a hole."""
    label_mask, metres = np.zeros(SIZE_HW, np.uint8), np.full(SIZE_HW, 4.0, np.float32)
    label_mask[4:12, 2:12], metres[4:12, 2:12] = 1, 1.0
    label_mask[12:20, 20:30], metres[12:20, 20:30] = 3, 2.0
    metres[6:8, 4:6] = 4.0
    metres[8:9, 4:6] = np.nan
    return label_mask, metres


RANGES = {1: (0.9, 1.1), 3: (1.9, 2.1)}


def crop(metres, label_mask, ranges=RANGES, **options):
    options = {'rgb': None, 'rigid': IDENTITY, 'max_points': 10_000, **options}
    return crop_cloud(DepthImage(metres), label_mask, ranges, CAMERA, **options)


def test_points_of_all_masks():
    label_mask, metres = make_scene()
    rgb = np.random.default_rng(1).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    cloud = crop(metres, label_mask, rgb=rgb)
    assert cloud.dtype == POINT
    assert [np.count_nonzero(cloud['label'] == label) for label in (1, 3)] == [80 - 6, 80]
    points = np.column_stack([cloud['x'], cloud['y'], cloud['z']])
    columns, rows = np.round(CAMERA.project(points)).astype(int).T
    np.testing.assert_array_equal(label_mask[rows, columns], cloud['label'])
    np.testing.assert_array_equal(metres[rows, columns], cloud['z'])
    red, green, blue = rgb[rows, columns].astype(np.uint32).T
    np.testing.assert_array_equal(cloud['rgb'], red << 16 | green << 8 | blue)


def test_points_without_color_in_another_frame():
    label_mask, metres = make_scene()
    half = np.sqrt(0.5)
    quarter_about_z = Rigid(np.array([0.0, 0.0, half, half]), np.array([10.0, 0.0, 0.0]))
    here, there = crop(metres, label_mask), crop(metres, label_mask, rigid=quarter_about_z)
    assert here.dtype == there.dtype == POINT_WITHOUT_COLOR
    np.testing.assert_allclose(there['x'], 10 - here['y'], atol=1e-6)
    np.testing.assert_allclose(there['y'], here['x'], atol=1e-6)


@pytest.mark.parametrize(
    ('dtype', 'ranges', 'max_points', 'expected'),
    [
        (np.uint8, RANGES, 80, 38),  # every second row and column, and a point of the hole
        (np.uint16, RANGES, 10_000, 154),  # labels above 255
        (np.uint8, {3: (1.9, 2.1)}, 10_000, 80),  # an object without a position has no points
        (np.uint8, {}, 10_000, 0),
    ],
)
def test_number_of_points(dtype, ranges, max_points, expected):
    label_mask, metres = make_scene()
    assert len(crop(metres, label_mask.astype(dtype), ranges, max_points=max_points)) == expected


def test_nothing_in_view_and_depth_of_half_the_size():
    label_mask, metres = make_scene()
    assert len(crop(metres, np.zeros_like(label_mask))) == 0
    cloud = crop(metres[::2, ::2].copy(), label_mask)
    assert set(cloud['z'].tolist()) == {1.0, 2.0}
