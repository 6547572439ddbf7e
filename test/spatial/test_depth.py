"""Depth messages to metres."""

import types

import numpy as np
import pytest

from robust_vos_ros.spatial.depth import DepthError, DepthImage, read_depth

NAN, INF = float('nan'), float('inf')


def make_msg(values, encoding, **changes):
    values = np.asarray(values)
    fields = {
        'encoding': encoding, 'height': values.shape[0], 'width': values.shape[1],
        'step': values.shape[1] * values.itemsize, 'is_bigendian': 0, 'data': values.tobytes(),
    }  # fmt: skip
    return types.SimpleNamespace(**{**fields, **changes})


def whole(depth):
    height, width = depth.size_hw
    return depth.sample(np.arange(height), np.arange(width), (height, width))


@pytest.mark.parametrize(
    ('values', 'encoding', 'expected'),
    [
        (np.array([[0, 1500], [65535, 1]], '<u2'), '16UC1', [[NAN, 1.5], [65.535, 0.001]]),
        (np.array([[0, 1500]], '<u2'), 'mono16', [[NAN, 1.5]]),
        (np.array([[0.0, 1.5, NAN, INF, -1.0]], '<f4'), '32FC1', [[NAN, 1.5, NAN, NAN, NAN]]),
    ],
)
def test_units_and_unknown_values(values, encoding, expected):
    found = whole(read_depth(make_msg(values, encoding)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(expected, np.float32))


def test_big_endian():
    msg = make_msg(np.array([[1500]], '>u2'), '16UC1', is_bigendian=1)
    assert whole(read_depth(msg))[0, 0] == pytest.approx(1.5)


def test_padded_rows():
    rows = np.zeros((2, 10), np.uint8)
    rows[:, :6] = np.array([[1000, 2000, 3000], [4000, 5000, 6000]], '<u2').view(np.uint8)
    msg = make_msg(np.zeros((2, 3), '<u2'), '16UC1', step=10, data=rows.tobytes())
    np.testing.assert_allclose(whole(read_depth(msg)), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize('size_hw', [(4, 6), (8, 12), (2, 3), (3, 5), (1, 1)])
def test_sampling_by_an_image_of_another_size_stays_inside_and_in_place(size_hw):
    """Depth rises along the width from 1 m to 2 m, whatever the resolution."""
    height, width = 4, 6
    values = np.tile(1.0 + (np.arange(width) + 0.5) / width, (height, 1)).astype(np.float32)
    found = DepthImage(values).sample(np.arange(size_hw[0]), np.arange(size_hw[1]), size_hw)
    expected = 1.0 + (np.arange(size_hw[1]) + 0.5) / size_hw[1]
    assert found.shape == size_hw
    assert np.abs(found - expected).max() <= 0.5 / width + 1e-6


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'encoding': 'rgb8'}, "'rgb8'"),  # the colour image on the wrong topic
        ({'encoding': '8UC1'}, "'8UC1'"),  # a disparity
        ({'height': 0}, '2 x 0 pixels'),
        ({'width': 0}, '0 x 1 pixels'),
        ({'step': 3}, 'step 3'),
        ({'data': b'123'}, '3 bytes'),
        ({'height': 2}, 'cut off'),
    ],
)
def test_broken_messages(changes, words):
    with pytest.raises(DepthError, match=words):
        read_depth(make_msg(np.array([[1000, 2000]], '<u2'), **{'encoding': '16UC1', **changes}))


def test_depth_has_two_axes():
    with pytest.raises(DepthError, match='H, W'):
        DepthImage(np.zeros((2, 2, 1)))
