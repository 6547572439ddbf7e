"""Fitting of where looks are compared."""

import numpy as np
import pytest

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.reid.appearance import feature_map_width
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.eval.calibration_clips import make_clips
from robust_vos_ros.eval.embedding_fitting import EmbeddingSamples, fit_projection

DIM = 40


def draw(seed, num=30):
    """Objects that differ in numbers 0 to 4; numbers 5 to 9 change a lot on each of them."""
    rng = np.random.default_rng(seed)
    samples = EmbeddingSamples()
    for _ in range(num):
        mean = np.zeros(DIM)
        mean[:5] = rng.normal(0.0, 1.0, 5)
        rows = mean + 0.05 * rng.normal(size=(12, DIM))
        rows[:, 5:10] += rng.normal(0.0, 3.0, (12, 5))
        samples.objects.append(rows)
        samples.background.append(rng.normal(0.0, 1.0, DIM))
    return samples


def share_of_nearest(samples, project):
    """How often the nearest other vector, by cosine, is of the same object."""
    rows = np.concatenate([project(rows) for rows in samples.objects])
    owner = np.repeat(np.arange(len(samples.objects)), 12)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -2.0)
    return float((owner[cosine.argmax(axis=1)] == owner).mean())


def test_other_objects_are_told_apart_by_what_does_not_change_on_them():
    looks = fit_projection(draw(0))
    center, matrix = np.array(looks.center), np.array(looks.matrix)
    assert matrix.shape == (DIM, 32)
    other = draw(1)
    assert share_of_nearest(other, lambda rows: rows) < 0.6
    assert share_of_nearest(other, lambda rows: (rows - center) @ matrix) > 0.9


def test_the_same_samples_give_the_same_map():
    assert fit_projection(draw(0)) == fit_projection(draw(0))


def test_too_few_objects_are_said():
    with pytest.raises(DatasetError, match=r'expected 8 objects or more.*got 3'):
        fit_projection(draw(0, num=3))


def test_objects_and_places_of_a_rendered_clip_are_measured():
    model = load_model(ModelSettings(device='cpu', calibration='none'))
    (source,) = make_clips(None, conditions=1, num_clips=1, num_frames=40, seed=3)
    samples = EmbeddingSamples()
    samples.collect(model, source.frames(), seed=0)
    assert len(samples.objects) >= 3
    assert all(rows.shape == (5, feature_map_width(model.hidden_dim)) for rows in samples.objects)
    between = np.std([rows.mean(axis=0) for rows in samples.objects])
    assert between > 0.0
