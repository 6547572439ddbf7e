"""Still images as a source of clips: which are read, which are held out, what moves in them."""

import json

import numpy as np
import pytest
from PIL import Image

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.data import photometric
from robust_vos_ros.data.layered import (
    LayeredSettings,
    animate,
    group_touching,
    make_pasted_object,
)
from robust_vos_ros.data.layers import Layer
from robust_vos_ros.data.mixture import DataSettings, Mixture
from robust_vos_ros.data.moving_objects import MovingObject, draw, draw_path, inpaint
from robust_vos_ros.data.pseudo_clips import pseudo_clips
from robust_vos_ros.data.sources import LabelledImage
from robust_vos_ros.data.stills import is_held_out, open_stills

SIZE = 64
GREEN, RED, BLUE = (20, 120, 20), (230, 20, 20), (20, 20, 230)


def picture():
    """A red and a blue square on green, which nothing touches."""
    image = np.full((SIZE, SIZE, 3), GREEN, np.uint8)
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[0, 12:28, 10:26] = 1
    masks[1, 36:50, 34:48] = 1
    image[masks[0] > 0] = RED
    image[masks[1] > 0] = BLUE
    return LabelledImage('p', image, masks, ('red', 'blue'))


@pytest.fixture
def root(tmp_path):
    """Two sources of ten stills each; one of them names its objects."""
    shown = picture()
    ids = (shown.masks[0] + 2 * shown.masks[1]).astype(np.uint8)
    for source in ('a', 'b'):
        for folder in ('images', 'masks'):
            (tmp_path / source / folder).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(shown.image).save(tmp_path / source / 'images' / f'{number}.png')
            Image.fromarray(ids).save(tmp_path / source / 'masks' / f'{number}.png')
    names = {str(k): {'1': 'red', '2': 'blue'} for k in range(10)}
    (tmp_path / 'a' / 'names.json').write_text(json.dumps(names))
    (tmp_path / 'exclude.txt').write_text('b\na/3\n')
    return tmp_path


def test_stills_of_all_sources_are_listed_with_their_classes(root):
    stills = open_stills(root)
    assert [still.name for still in stills][:2] == ['a/0', 'a/1']
    assert len(stills) == 20
    assert stills[0].class_names == {1: 'red', 2: 'blue'}
    assert stills[-1].class_names == {}
    assert {k: int(m.sum()) for k, m in stills[0].masks().items()} == {1: 256, 2: 196}
    assert len(open_stills(root / 'a')) == 10, 'a single source is a root as well'


def test_sources_and_single_stills_can_be_left_out(root):
    from pathlib import Path

    names = [still.name for still in open_stills(root, exclude=Path('exclude.txt'))]
    assert names == [f'a/{k}' for k in range(10) if k != 3]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: (r / 'a/masks/3.png').unlink(), 'got only one of both for 3'),
        (lambda r: (r / 'a/names.json').write_text('[1]'), 'expected JSON'),
        (lambda r: (r / 'exclude.txt').write_text('c\n'), 'exclude: expected names'),
    ],
)
def test_what_cannot_be_read_is_one_sentence(root, change, message):
    from pathlib import Path

    change(root)
    with pytest.raises(DatasetError, match=message):
        open_stills(root, exclude=Path('exclude.txt'))


def test_held_out_stills_depend_on_the_name_alone_and_are_never_drawn(root):
    names = [f'source/{k}' for k in range(4000)]
    share = np.mean([is_held_out(name, 0.1) for name in names])
    assert 0.08 < share < 0.12
    assert [is_held_out(n, 0.1) for n in names] == [is_held_out(n, 0.1) for n in names]
    sources = [{'root': str(root), 'layout': 'stills'}]
    settings = {'sources': sources, 'held_out': 0.5, 'synthetic': 0.0}
    source = Mixture(parse_settings(DataSettings, settings), SIZE)
    drawn = {source.draw(np.random.default_rng(s), 2, 0.0)[0].name for s in range(60)}
    kept = {f'layered/{s.name}' for s in open_stills(root) if not is_held_out(s.name, 0.5)}
    assert drawn == kept


def test_masks_follow_the_objects_of_a_picture_that_move_apart():
    shown, apart, fast = picture(), 0, LayeredSettings(slowest=1.0)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        images, masks = animate(rng, shown.image, shown.masks, 4, fast)
        assert images.shape == (4, SIZE, SIZE, 3)
        assert masks.shape[1:] == (4, SIZE, SIZE)
        assert masks.sum(axis=0).max() == 1, 'what is hidden belongs to nobody'
        for color in ((0, 2), (2, 0)):  # strong and weak channel
            own = (images[..., color[0]] > 150) & (images[..., color[1]] < 90)
            row = np.argmax([(m * own).sum() for m in masks])
            missed = (masks[row] & ~own).sum()
            assert missed <= 0.25 * masks[row].sum() + 40
        middles = [np.argwhere(m[t]).mean(0) for m in masks for t in (0, 3) if m[t].any()]
        if len(middles) == 4:
            moves = middles[1] - middles[0], middles[3] - middles[2]
            apart += np.linalg.norm(moves[0] - moves[1]) > 4
    assert apart > 8, 'objects go their own ways'


def test_objects_leave_and_come_back():
    path = draw_path(np.random.default_rng(1), 5, SIZE, center=(32, 32), away=1.0, far=0.0)
    steps = np.linalg.norm(path[:, :, 2], axis=1)
    assert steps[0] == pytest.approx(0.0)
    assert steps[-1] == pytest.approx(0.0, abs=1e-9)
    assert steps[2] > 0.55 * SIZE


def test_a_hole_is_filled_without_what_was_in_it():
    shown = picture()
    for seed in range(6):
        filled = inpaint(np.random.default_rng(seed), shown.image, shown.masks.max(axis=0))
        red, blue = filled[..., 0].astype(int), filled[..., 2].astype(int)
        assert red.max() < 60
        assert blue.max() < 60


def test_objects_in_front_hide_and_objects_behind_are_hidden():
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    base = np.zeros((1, 1, SIZE, SIZE), np.uint8)
    base[0, 0, 20:40, 20:40] = 1
    layer = Layer([np.full((10, 10, 3), 255, np.uint8)], [np.ones((10, 10), np.float32)])
    place = np.array([[[1.0, 0.0, 15.0], [0.0, 1.0, 15.0]]])
    front = draw(image.copy(), base, [MovingObject(layer, place)])
    assert front[0].sum() == 400 - 25
    assert front[1].sum() == 100
    behind = draw(image.copy(), base, [MovingObject(layer, place, behind=True)])
    assert behind[0].sum() == 400
    assert behind[1].sum() == 75


def test_objects_that_touch_may_be_one_thing():
    masks = np.zeros((3, 40, 40), np.uint8)
    masks[0, 5:15, 5:15] = masks[1, 15:25, 5:15] = masks[2, 5:15, 30:38] = 1  # 0 and 1 touch
    together = np.maximum(masks[0], masks[1])
    seen = set()
    for seed in range(20):
        grouped = group_touching(np.random.default_rng(seed), masks)
        assert np.array_equal(grouped.max(axis=0), masks.max(axis=0))
        seen.add(len(grouped))
        if len(grouped) == 2:
            assert np.array_equal(grouped[0], together)
    assert seen == {2, 3}  # 3 where the one that stands alone was drawn
    alone = masks[:1]
    assert np.array_equal(group_touching(np.random.default_rng(0), alone), alone)


def test_pasted_objects_are_of_the_class_asked_for_and_may_move_with_an_object():
    shown = picture()
    images = np.repeat(shown.image[None], 3, axis=0)
    masks = np.repeat(shown.masks[:, None], 3, axis=1)
    masks[:, 1:] = np.roll(masks[:, 1:], 6, axis=-1)
    settings = parse_settings(
        LayeredSettings, {'copies': 0.0, 'touching': 1.0, 'deform': 0.0, 'shadow': 0.0}
    )
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pasted = make_pasted_object(rng, [shown], images, masks, settings, class_name='blue')
        height, width = pasted.layer.alphas[0].shape
        color = pasted.layer.colors[0][height // 2, width // 2].astype(int)
        assert color[2] > 150 > color[0]
        held += bool(np.allclose(pasted.path[1] - pasted.path[0], [[0, 0, 6], [0, 0, 0]]))
    assert 3 < held < 17
    empty = LabelledImage('', shown.image, shown.masks * 0, ('', ''))
    rng = np.random.default_rng(0)
    assert make_pasted_object(rng, [empty], images, masks * 0, settings) is None


def test_appearance_changes_but_no_weather_is_added(root, monkeypatch):
    """Adapters for weather are judged on a model that never saw any."""
    called = []
    monkeypatch.setattr(photometric, 'degrade', lambda rng, images, s: called.append(s) or images)
    settings = {'sources': [{'root': str(root), 'layout': 'stills'}]}
    Mixture(parse_settings(DataSettings, settings), SIZE).draw(np.random.default_rng(0), 2, 0.0)
    assert called
    assert DataSettings().augmentation.share == 0.0


def test_clips_of_held_out_stills_show_nothing_that_was_trained_on(root):
    clips = list(
        pseudo_clips(root, count=12, num_frames=3, size=SIZE, max_objects=2, held_out=0.5)
    )
    again = next(pseudo_clips(root, count=1, num_frames=3, size=SIZE, max_objects=2, held_out=0.5))
    assert np.array_equal(clips[0].images, again.images)
    for clip in clips:
        _, source, number, _ = clip.name.split('/')
        assert is_held_out(f'{source}/{number}', 0.5)
        assert len(clip.masks) == 2
        assert clip.masks[:, 0].any(axis=(1, 2)).all()
    with pytest.raises(DatasetError, match='held out, got none'):
        next(pseudo_clips(root, count=1, num_frames=2, size=SIZE, max_objects=1, held_out=0.0))


@pytest.mark.parametrize('value', [0, 1], ids=['out of view', 'fills the image'])
def test_an_object_can_be_pasted_where_no_outline_is_in_view(value):
    shown = picture()
    images = np.repeat(shown.image[None], 2, axis=0)
    masks = np.full((1, 2, SIZE, SIZE), value, np.uint8)
    settings = parse_settings(LayeredSettings, {'copies': 0.0, 'touching': 1.0})
    for seed in range(8):
        assert make_pasted_object(np.random.default_rng(seed), [shown], images, masks, settings)
