"""Long clips: what the plan says happens in the pictures; the same seed, the same bits."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.data.long_clips import LongClip
from robust_vos_ros.data.long_footage import cut_out_centered, take_footage
from robust_vos_ros.data.long_paths import ABSENCE_KINDS, RATE_HZ
from robust_vos_ros.data.long_plan import LongSettings, make_plan
from robust_vos_ros.data.video_folder import open_dataset

SETTINGS = LongSettings()


def make(seed, num_frames=450, **arguments):
    return LongClip(seed, num_frames=num_frames, size=96, settings=SETTINGS, **arguments)


def test_the_same_seed_gives_the_same_bits_in_any_order():
    one, two, other = make(3), make(3), make((3, 1))
    late, early = one.frame(200), one.frame(5)
    for t, frame in ((5, early), (200, late)):
        again = two.frame(t)
        assert np.array_equal(frame.image, again.image)
        assert np.array_equal(frame.labels, again.labels)
    assert not np.array_equal(early.image, other.frame(5).image)


@pytest.mark.parametrize('seed', range(6))
def test_objects_are_in_view_at_first_and_absent_when_planned(seed):
    clip = make(seed)
    first = clip.frame(0)
    assert 3 <= clip.num_objects <= 4
    for index in range(clip.num_objects):
        assert first.mask(index).sum() >= 0.7 * first.full_px[index]
        for absence in clip.plan.absences[index]:
            assert 1.0 <= absence.end_s - absence.start_s <= 5.0
            for moment in np.linspace(absence.start_s + 0.25, absence.end_s - 0.25, 3):
                frame = clip.frame(round(moment * RATE_HZ))
                assert not frame.mask(index).any(), absence
                assert (frame.inside_px[index] == 0) == (absence.kind == 'exit'), absence


def test_a_suite_of_twenty_clips_has_every_kind_of_absence_often():
    plans = [make_plan(np.random.default_rng(seed), 600, SETTINGS) for seed in range(20)]
    absences = [a for plan in plans for own in plan.absences for a in own]
    assert all(sum(a.kind == kind for a in absences) >= 30 for kind in ABSENCE_KINDS)
    assert all(own for plan in plans for own in plan.absences)
    assert sum(len(plan.distractors) for plan in plans) >= 40
    # Each comes back early enough to be judged.
    assert max(a.end_s for a in absences) <= 20.0 - SETTINGS.min_visible_s


def test_a_returning_object_is_elsewhere():
    moved = []
    for seed in range(8):
        plan = make_plan(np.random.default_rng(seed), 600, SETTINGS)
        for path, own in zip(plan.objects, plan.absences, strict=True):
            for absence in (a for a in own if a.kind == 'exit'):
                before, after = (
                    round(s * RATE_HZ) for s in (absence.start_s, absence.end_s + 0.5)
                )
                moved.append(np.linalg.norm(path.centers[after] - path.centers[before]))
    assert np.median(moved) > 0.4


def test_distractors_have_labels_of_their_own():
    clip = make(0)
    highest = max(clip.frame(t).labels.max() for t in range(0, 450, 10))
    assert clip.num_objects < highest <= clip.num_objects + len(clip.plan.distractors)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match='min_absence_s must be at most max_absence_s'):
        parse_settings(LongSettings, {'min_absence_s': 3.0, 'max_absence_s': 2.0})


@pytest.fixture
def footage(tmp_path):
    """A disc that moves to and fro in two sequences; in a third one it is tiny."""
    for name, radius in (('one', 20), ('two', 25), ('tiny', 3)):
        for folder in ('JPEGImages', 'Annotations'):
            (tmp_path / folder / name).mkdir(parents=True)
        for index in range(6):
            mask = cv2.circle(np.zeros((100, 140), np.uint8), (40 + 8 * index, 50), radius, 1, -1)
            image = np.where(mask[..., None] > 0, (30, 60, 230), (90, 90, 90)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / f'JPEGImages/{name}/{index}.png'), image)
            cv2.imwrite(str(tmp_path / f'Annotations/{name}/{index}.png'), mask)
    return tmp_path


def test_real_objects_are_cut_out_and_stay_in_the_middle(footage):
    sequences = list(open_dataset(footage, layout='folders'))
    photos, cutouts = take_footage(np.random.default_rng(0), sequences, 3)
    assert len(photos) == 3
    assert len(cutouts) == 3  # two are usable, one of them is taken twice
    for cutout in cutouts:
        assert cutout.colors.shape == (6, *cutout.alphas.shape[1:], 3)
        for color, alpha in zip(cutout.colors, cutout.alphas, strict=True):
            middle = np.argwhere(alpha > 0.5).mean(axis=0)
            assert np.abs(middle - (np.array(alpha.shape) - 1) / 2).max() < 1.5
            assert np.abs(color[alpha > 0.9].mean(axis=0) - (230, 60, 30)).max() < 12
    clip = make(0, num_frames=2, photos=photos, cutouts=cutouts)
    frame = clip.frame(0)
    red = frame.image[cv2.erode(frame.mask(0).view(np.uint8), np.ones((5, 5))) > 0].astype(int)
    assert (red[:, 0] - red[:, 2]).mean() > 100


def test_footage_without_a_usable_object_is_an_error(footage):
    sequences = [s for s in open_dataset(footage, layout='folders') if s.name == 'tiny']
    with pytest.raises(DatasetError, match='objects of 400 pixels or more'):
        take_footage(np.random.default_rng(0), sequences, 1)


def test_a_large_object_is_made_smaller():
    image = np.zeros((400, 500, 3), np.uint8)
    mask = np.zeros((400, 500), bool)
    mask[20:360, 30:480] = True
    cutout = cut_out_centered([image, image], [mask, mask])
    assert max(cutout.alphas.shape[1:]) == 160
