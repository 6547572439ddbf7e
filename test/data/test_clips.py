"""Clips from real footage, on a tiny data set whose object is the only red thing."""

import numpy as np
import pytest
from PIL import Image

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.data import photometric
from robust_vos_ros.data.clips import ClipMaker, ClipSettings
from robust_vos_ros.data.mixture import DataSettings, Mixture
from robust_vos_ros.data.sources import Sources, SourceSettings

NUM_FRAMES = 12
SIZE = 64


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Two sequences: a red square that moves 6 pixels a frame over green or blue."""
    root = tmp_path_factory.mktemp('footage')
    for name, background in (('green', (10, 120, 10)), ('blue', (10, 10, 120))):
        for folder in ('JPEGImages', 'Annotations'):
            (root / folder / name).mkdir(parents=True)
        for t in range(NUM_FRAMES):
            image = np.full((80, 140, 3), background, np.uint8)
            mask = np.zeros((80, 140), np.uint8)
            mask[25:55, 10 + 6 * t : 40 + 6 * t] = 255
            image[mask > 0] = (230, 20, 20)
            Image.fromarray(image).save(root / 'JPEGImages' / name / f'{t:05d}.png')
            Image.fromarray(mask).save(root / 'Annotations' / name / f'{t:05d}.png')
    (root / 'held_out.txt').write_text('blue\n')
    return root


@pytest.fixture
def plain(monkeypatch):
    """Leave the appearance of clips alone, so that colours tell what is where."""
    monkeypatch.setattr(photometric, 'degrade', lambda rng, images, settings: images)


def maker(root, **settings):
    sources = Sources.open([SourceSettings(root=str(root))], held_out=0.0, cache_frames=100)
    return ClipMaker(parse_settings(ClipSettings, settings), SIZE, sources)


@pytest.mark.parametrize('kind', ['real', 'layered'])
@pytest.mark.parametrize('paste', [0.0, 1.0])
def test_masks_cover_what_is_red(root, plain, kind, paste):
    source = maker(root, paste=paste, layered={'shadow': 0.0})
    for seed in range(20):
        clip = source.make(kind, np.random.default_rng(seed), 4)
        assert clip.images.shape == (4, SIZE, SIZE, 3)
        red = (clip.images[..., 0] > 180) & (clip.images[..., 1] < 70)
        covered = clip.masks.any(axis=0)
        if kind == 'layered':  # beyond the frame the image is mirrored, masks are not
            assert (covered & ~red).sum() <= 0.2 * covered.sum() + 40
        else:
            assert (covered ^ red).sum() <= 0.12 * covered.sum() + 40


def test_pasted_objects_are_further_objects_in_front_or_behind(root, plain):
    source = maker(root, paste=1.0, max_pasted=2)
    clips = [source.real(np.random.default_rng(seed), 4) for seed in range(30)]
    assert {len(clip.masks) for clip in clips} == {2, 3}
    assert all(clip.masks.sum(axis=0).max() == 1 for clip in clips)
    hidden = [clip.masks[0].sum() for clip in clips]
    assert min(hidden) < 0.7 * max(hidden), 'some pass in front'


def test_zoomed_crops_show_an_object_as_large_as_the_zoom_does(root, plain):
    """The square is 30 of 140 x 80 pixels: 0.375 of the height, so 1/3 to 2/3 of a crop."""
    source = maker(root, paste=0.0, pan=0.0, zoomed=1.0, max_aspect=1.0)
    whole = maker(root, paste=0.0, pan=0.0, min_crop=1.0, max_aspect=1.0)
    heights = {True: [], False: []}
    for seed in range(40):
        for zoomed, clips in ((True, source), (False, whole)):
            mask = clips.real(np.random.default_rng(seed), 2).masks[0, 0]
            assert mask.any()
            heights[zoomed].append(mask.any(axis=1).mean())
    assert np.allclose(heights[False], 0.375, atol=0.03)
    assert min(heights[True]) > 0.3
    assert max(heights[True]) < 0.72
    assert np.ptp(heights[True]) > 0.2


def test_real_clips_go_both_ways_at_several_speeds(root, plain):
    source = maker(root, paste=0.0, pan=0.0, min_crop=1.0, max_aspect=1.0, slow=0.0, max_stride=3)
    steps = set()
    for seed in range(60):
        masks = source.real(np.random.default_rng(seed), 3).masks[0]
        centers = [np.nonzero(mask)[1].mean() for mask in masks]
        steps.add(round((centers[1] - centers[0]) / (6 * SIZE / 140)))
    assert steps == {-3, -2, -1, 1, 2, 3}


@pytest.mark.parametrize('kind', ['real', 'layered', 'synthetic'])
def test_the_same_randomness_gives_the_same_clip(root, kind):
    source = maker(root)
    one, two = (source.make(kind, np.random.default_rng(5), 3) for _ in range(2))
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.masks, two.masks)


def test_short_footage_repeats_its_last_frame(root):
    clip = maker(root).real(np.random.default_rng(0), NUM_FRAMES + 5)
    assert len(clip.images) == NUM_FRAMES + 5


def mixture(folder, source=(), **settings):
    sources = [{'root': str(folder), **dict(source)}] if folder else []
    return Mixture(parse_settings(DataSettings, {'sources': sources, **settings}), SIZE)


def test_mixture_draws_every_kind_and_objects_that_are_visible(root):
    source = mixture(root, real=1.0, layered=1.0, synthetic=1.0, min_area=0.01, max_objects=2)
    names = set()
    for seed in range(30):
        clip, rows = source.draw(np.random.default_rng(seed), 3, 0.5)
        names.add(clip.name.split('/')[0])
        assert 1 <= len(rows) <= 2
        assert clip.masks[rows, 0].mean(axis=(1, 2)).min() >= 0.01
    assert {'green', 'blue', 'layered', 'synthetic'} == names


def test_rendered_clips_join_later(root):
    source = mixture(root, real=1.0, layered=0.0, synthetic=5.0, synthetic_from=0.5)
    early = [source.draw(np.random.default_rng(s), 2, 0.4)[0].name for s in range(15)]
    late = [source.draw(np.random.default_rng(s), 2, 0.5)[0].name for s in range(15)]
    assert not [name for name in early if name.startswith('synthetic')]
    assert [name for name in late if name.startswith('synthetic')]


def test_excluded_sequences_are_never_read(root):
    source = mixture(root, {'exclude': 'held_out.txt'}, real=1.0, layered=0.0, synthetic=0.0)
    names = {source.draw(np.random.default_rng(s), 2, 0.0)[0].name for s in range(15)}
    assert names == {'green'}


def test_without_footage_all_clips_are_rendered():
    source = Mixture(DataSettings(), SIZE)
    clip, _ = source.draw(np.random.default_rng(0), 2, 0.0)
    assert clip.name.startswith('synthetic/')


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ({'root': '/nowhere'}, 'expected the folder of a data set'),
        ({'exclude': 'none.txt'}, 'none.txt'),
        ({'layout': 'unknown'}, 'layout: expected one of'),
        ({'layout': 'stills'}, 'expected a folder'),
    ],
)
def test_data_that_cannot_be_used_is_one_sentence(root, source, message):
    with pytest.raises(DatasetError, match=message):
        mixture(root, source)


def test_without_footage_and_rendered_clips_there_are_none():
    with pytest.raises(DatasetError, match='no clips'):
        mixture(None, synthetic=0.0)
