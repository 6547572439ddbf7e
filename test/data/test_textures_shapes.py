"""Textures and shapes: every kind can be drawn, in range, reproducibly."""

import numpy as np
import pytest

from robust_vos_ros.data import shapes, textures

PHOTOS = [
    np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8),
    np.full((30, 20, 3), 77, np.uint8),
]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize('size', [4, 33, 128])
@pytest.mark.parametrize('kind', textures.KINDS)
def test_every_texture(kind, size):
    picture = textures.texture(rng(1), size, PHOTOS, kind)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert np.array_equal(picture, textures.texture(rng(1), size, PHOTOS, kind))
    assert not np.array_equal(picture, textures.texture(rng(4), size, PHOTOS, kind))


@pytest.mark.parametrize('photos', [PHOTOS, ()], ids=['photos', 'no photos'])
def test_any_texture_is_one_of_those_possible(monkeypatch, photos):
    drawn = set()

    def stand_in(kind):
        def draw(_rng, size, _photos):
            drawn.add(kind)
            return np.zeros((size, size, 3), np.uint8)

        return draw

    for kind in textures.KINDS:
        monkeypatch.setitem(textures.KINDS, kind, stand_in(kind))
    for seed in range(200):
        textures.texture(rng(seed), 8, photos)
    assert drawn == set(textures.KINDS) - (set() if photos else {'photo'})


def test_palettes_are_both_dull_and_vivid():
    spread = [np.ptp(textures.palette(rng(seed), 1)[0]) for seed in range(100)]
    assert np.mean(np.array(spread) < 40) > 0.2
    assert np.mean(np.array(spread) > 90) > 0.2


def test_noise_is_smoother_with_a_larger_exponent():
    def roughness(exponent):
        noise = textures.smooth_noise(rng(3), 128, exponent)
        assert noise.min() == pytest.approx(0.0, abs=1e-6)
        assert noise.max() == pytest.approx(1.0)
        return np.abs(np.diff(noise)).mean()

    assert roughness(0.8) > 2.0 * roughness(1.8)
    assert textures.smooth_noise(rng(3), 50, 1.0, 3).shape == (50, 50, 3)


def test_textures_that_cannot_be_drawn_are_errors():
    with pytest.raises(ValueError, match='size'):
        textures.texture(rng(), 3, ())
    with pytest.raises(ValueError, match="got 'fur'"):
        textures.texture(rng(), 16, (), 'fur')
    with pytest.raises(ValueError, match='needs photos'):
        textures.texture(rng(), 16, (), 'photo')


@pytest.mark.parametrize('size', [8, 21, 128])
@pytest.mark.parametrize('kind', shapes.KINDS)
def test_every_shape(kind, size):
    for seed in range(10):
        alpha = shapes.shape(rng(seed), size, kind)
        assert alpha.shape == (size, size)
        assert alpha.dtype == np.float32
        assert alpha.min() == 0.0
        assert alpha.max() <= 1.0
        assert (alpha >= 0.5).any(), 'something of it is seen'
        border = (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1])
        assert max(edge.max() for edge in border) == 0.0
    assert np.array_equal(alpha, shapes.shape(rng(9), size, kind))
    assert not np.array_equal(alpha, shapes.shape(rng(8), size, kind))


def test_shapes_fill_their_square():
    for seed in range(60):
        ys, xs = np.nonzero(shapes.shape(rng(seed), 100) >= 0.5)
        assert max(np.ptp(ys), np.ptp(xs)) >= 85


def test_shapes_are_antialiased():
    alpha = shapes.shape(rng(2), 100)
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 20


def test_any_shape_is_one_of_every_kind(monkeypatch):
    drawn = set()

    def stand_in(kind):
        def draw(_rng):
            drawn.add(kind)
            return [(np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]), True)]

        return draw

    for kind in shapes.KINDS:
        monkeypatch.setitem(shapes.KINDS, kind, stand_in(kind))
    for seed in range(100):
        shapes.shape(rng(seed), 16)
    assert drawn == set(shapes.KINDS)


def test_shapes_that_cannot_be_drawn_are_errors():
    with pytest.raises(ValueError, match='size'):
        shapes.shape(rng(), 7)
    with pytest.raises(ValueError, match="got 'cow'"):
        shapes.shape(rng(), 32, 'cow')
