"""Parts of an image: what lies where in them, and which part the network is shown."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.results import EMPTY_SHAPE, Shape, place
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.core.zoom.rebuilding import window_around
from robust_vos_ros.core.zoom.window import Window, extent, move, resize, to_window
from robust_vos_ros.core.zoom.zoom import choose_window

IMAGE_HW = (480, 640)
WHOLE = Window.whole(IMAGE_HW)
MIDDLE = Window(200, 150, 240, 180, IMAGE_HW)
LARGE = Window(100, 75, 400, 300, IMAGE_HW)
SETTINGS = ZoomSettings(max_factor=4.0, context=3.0, min_side=100)
# What is seen now, boxes of the objects, the window that is chosen, why.
CHOICES = [
    (WHOLE, [(280, 200, 360, 260)], Window(200, 140, 240, 180, IMAGE_HW), 'three boxes wide'),
    (WHOLE, [(280, 200, 290, 210)], Window(205, 145, 160, 120, IMAGE_HW), 'four times at most'),
    (WHOLE, [(0, 0, 10, 10)], Window(0, 0, 160, 120, IMAGE_HW), 'at the border of the image'),
    (WHOLE, [(600, 440, 640, 480)], Window(480, 360, 160, 120, IMAGE_HW), 'at the other border'),
    (WHOLE, [(0, 0, 10, 10), (600, 400, 610, 410)], WHOLE, 'far from each other'),
    (WHOLE, [(200, 200, 360, 300)], WHOLE, 'too large to be worth it'),
    (MIDDLE, [(280, 200, 360, 260)], MIDDLE, 'in the middle'),
    (MIDDLE, [(240, 180, 320, 240)], MIDDLE, 'not near the border yet'),
    (MIDDLE, [(360, 200, 440, 260)], Window(280, 140, 240, 180, IMAGE_HW), 'left the window'),
    (MIDDLE, [(290, 210, 380, 275)], MIDDLE, 'grown a little'),
    (MIDDLE, [(270, 195, 390, 280)], Window(150, 102, 360, 270, IMAGE_HW), 'grown much'),
    (LARGE, [(290, 210, 330, 240)], Window(230, 165, 160, 120, IMAGE_HW), 'shrunk much'),
    (MIDDLE, [(210, 160, 420, 320)], WHOLE, 'too large by now'),
]  # fmt: skip


@pytest.mark.parametrize(('current', 'boxes', 'expected', 'why'), CHOICES)
def test_a_window_follows_objects_but_not_every_move(current, boxes, expected, why):
    assert choose_window(np.array(boxes, np.float32), current, SETTINGS) == expected, why


def test_a_window_is_never_smaller_than_what_can_show_more():
    settings = SETTINGS.model_copy(update={'min_side': 240})
    window = choose_window(np.array([[300, 200, 310, 210]], np.float32), WHOLE, settings)
    assert window.size_hw == (240, 320)


def test_what_was_chosen_is_kept():
    box = np.array([[280, 200, 360, 260]], np.float32)
    chosen = choose_window(box, WHOLE, SETTINGS)
    assert choose_window(box, chosen, SETTINGS) == chosen


@pytest.mark.parametrize('size', [(480, 640), (240, 320), (768, 1024)])
def test_a_window_cuts_the_same_part_of_an_image_of_any_size(size):
    image = np.zeros((*size, 3), np.uint8)
    MIDDLE.cut(image)[:] = 1
    scale = size[0] / 480
    assert MIDDLE.cut(image).shape == (round(180 * scale), round(240 * scale), 3)
    assert image.sum() == 3 * round(180 * scale) * round(240 * scale)


def test_prompts_are_brought_to_the_window():
    mask = np.zeros(IMAGE_HW, bool)
    mask[160:170, 210:220] = True
    labels = np.array([1], np.int32)
    prompt = Prompt(
        'a', points=np.array([[220, 160]], np.float32), point_labels=labels,
        box=np.array([210, 155, 230, 175], np.float32),
    )  # fmt: skip
    seen = to_window(prompt, MIDDLE)
    assert seen.points.tolist() == [[20, 10]]
    assert seen.box.tolist() == [10, 5, 30, 25]
    shown = to_window(Prompt('a', mask=mask), MIDDLE).mask
    assert shown.shape == MIDDLE.size_hw
    assert shown[10:20, 10:20].all()
    assert shown.sum() == mask.sum()
    assert to_window(prompt, WHOLE) is prompt
    assert extent(prompt).tolist() == [210, 155, 230, 175]
    assert extent(Prompt('a', mask=mask)).tolist() == [210, 160, 220, 170]


def test_masks_move_to_another_window_and_back():
    ys, xs = np.mgrid[:64, :64]
    disc = 20.0 - np.hypot(xs - 32, ys - 32)[None].astype(np.float32)
    logits = torch.from_numpy(disc)
    whole = move(logits, MIDDLE, WHOLE)
    share = (MIDDLE.width * MIDDLE.height) / (640 * 480)
    assert float((whole > 0).float().mean()) == pytest.approx(
        share * float((logits > 0).float().mean()), rel=0.05
    )
    assert not (whole > 0)[:, :18].any(), 'above the window is nothing'
    back = move(whole, WHOLE, MIDDLE) > 0
    overlap = (back & (logits > 0)).sum() / (back | (logits > 0)).sum()
    assert overlap > 0.9
    assert move(logits, MIDDLE, MIDDLE) is logits


def test_absent_stays_absent():
    absent = torch.full((2, 3, 64, 64), -1024.0)
    assert (move(absent, WHOLE, MIDDLE) == -1024.0).all()
    assert (move(absent, MIDDLE, WHOLE) < 0).all()


def test_a_shape_is_brought_to_the_whole_image():
    shape = Shape(50, (0, 10, 10, 5), (4.5, 12.0), touches_border=True, fragmented=True)
    moved = place(shape, 200, 150, IMAGE_HW)
    assert moved == Shape(50, (200, 160, 10, 5), (204.5, 162.0), False, True)
    assert place(shape, 0, 150, IMAGE_HW).touches_border
    assert place(EMPTY_SHAPE, 200, 150, IMAGE_HW) is EMPTY_SHAPE


def test_a_prompted_frame_is_shown_around_its_object():
    mask = np.zeros((240, 320), bool)  # of half the size of the camera image
    assert window_around(mask, MIDDLE) == MIDDLE, 'nothing to go around'
    mask[10:20, 10:20] = True
    assert window_around(mask, WHOLE) == WHOLE
    assert window_around(mask, MIDDLE) == Window(0, 0, 240, 180, IMAGE_HW)
    mask[10:110, 10:110] = True
    larger = window_around(mask, MIDDLE)
    assert larger.size_hw == (250, 333), 'the object was larger when it was pointed at'
    assert larger.cut(mask).sum() == mask.sum()
    corner = Window(400, 300, 240, 180, IMAGE_HW)
    assert window_around(mask, corner) == larger, 'wherever the window was'


def test_the_model_sees_a_copy():
    rgb = np.zeros((64, 64, 3), np.uint8)
    seen = resize(rgb, 64)
    rgb[:] = 1
    assert not seen.any()
