import types
import uuid

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask

from robust_vos_ros import visualization
from robust_vos_ros.core import results
from robust_vos_ros.core.types import ObjectFlag, ObjectState
from robust_vos_ros.ros_types import messages


def blobs(num, size=64, seed=0):
    """Smooth random logits, a few per cent of them positive."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(-1.0, 1.0, (num, 1, 8, 8)).astype(np.float32))
    return F.interpolate(coarse, (size, size), mode='bicubic')[:, 0] * 8.0


@pytest.mark.parametrize('size_hw', [(480, 640), (64, 64), (37, 53), (1080, 1920)])
def test_pixels_go_to_the_highest_enlarged_logit(size_hw):
    logits = blobs(4)
    label_mask, _ = results.compose(logits, [3, 1, 7, 2], size_hw)
    full = F.interpolate(logits[:, None], size_hw, mode='bilinear', align_corners=False)[:, 0]
    best, winner = full.max(dim=0)
    expected = np.where(best > 0, np.array([3, 1, 7, 2])[winner], 0)
    undecided = (best.abs() < 1e-3).numpy()  # rounding may decide there
    top = full.topk(2, dim=0).values
    undecided |= (top[0] - top[1] < 1e-3).numpy()
    assert undecided.mean() < 0.01
    assert np.array_equal(label_mask[~undecided], expected[~undecided])


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    ('radius', 'kept', 'why'),
    [
        (6, 1.0, 'it lies in front of the large one, which is surer'),
        (16, 0.0, 'of masks of about one size the surer one wins'),
    ],
)
def test_a_small_object_on_a_large_one_keeps_its_pixels(order, radius, kept, why):
    pair = torch.cat([discs((32, 32, 20)) * 2.0, discs((32, 32, radius))])
    labels = np.array([1, 2])[list(order)].tolist()
    label_mask, _ = results.compose(pair[list(order)], labels, (64, 64))
    small = pair[1].numpy() > 0
    assert (label_mask[small] == 2).mean() == kept, why
    assert (label_mask[(pair[0].numpy() > 0) & ~small] == 1).all()


def test_shapes_are_those_of_the_label_mask():
    label_mask, shapes = results.compose(blobs(3), [1, 2, 3], (480, 640))
    for label, shape in zip([1, 2, 3], shapes, strict=True):
        ys, xs = np.nonzero(label_mask == label)
        assert shape.area_px == len(ys)
        assert shape.box_xywh == (
            xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1,
        )  # fmt: skip
        assert shape.centroid_xy == pytest.approx((xs.mean(), ys.mean()))
        on_border = xs.min() == 0 or ys.min() == 0 or xs.max() == 639 or ys.max() == 479
        assert shape.touches_border == on_border


def discs(*circles):
    image = np.full((64, 64), -5.0, np.float32)
    for x, y, radius in circles:
        cv2.circle(image, (x, y), radius, 5.0, -1)
    return torch.from_numpy(image)[None]


@pytest.mark.parametrize(
    ('circles', 'fragmented'),
    [
        ([(20, 20, 8)], False),  # one part
        ([(15, 20, 8), (45, 20, 8)], True),  # two equal parts
        ([(15, 20, 10), (50, 50, 2)], False),  # a crumb is no part
    ],
)
def test_masks_in_parts_are_fragmented(circles, fragmented):
    _, (shape,) = results.compose(discs(*circles), [1], (128, 128))
    assert shape.fragmented is fragmented


def test_an_object_without_pixels_has_no_shape():
    strong = discs((32, 32, 20))
    label_mask, shapes = results.compose(torch.cat([strong, strong - 4.0]), [1, 2], (100, 100))
    assert shapes[1] == results.EMPTY_SHAPE or not (label_mask == 2).any()
    assert shapes[1].area_px == 0
    label_mask, shapes = results.compose(torch.full((1, 64, 64), -3.0), [1], (100, 100))
    assert not label_mask.any()
    assert shapes[0].area_px == 0


def test_an_object_whose_pixels_all_belong_to_others_is_not_tracked():
    """As for a planner that reads confidence and state alone; a soak test found the opposite."""
    track = types.SimpleNamespace(
        state=ObjectState.TRACKED, confidence=0.6, existence=0.9, mask_quality=0.8,
        gate_activity=0.5, path_switched=False, last_seen_ns=5, frames_since_seen=0,
        flags=ObjectFlag(0),
    )  # fmt: skip
    item = types.SimpleNamespace(
        track=track, object_id='cup', uuid=uuid.uuid4(), label=1, class_id='', added_ns=1,
        memory=types.SimpleNamespace(updated=False),
    )  # fmt: skip
    hidden = results._tracked_object(item, results.EMPTY_SHAPE, 7)
    assert (hidden.state, hidden.confidence) == (ObjectState.UNCERTAIN, 0.0)
    assert np.isnan(hidden.mask_quality)
    _, (shape,) = results.compose(discs((32, 32, 10)), [1], (64, 64))
    shown = results._tracked_object(item, shape, 7)
    assert (shown.state, shown.confidence, shown.mask_quality) == (ObjectState.TRACKED, 0.6, 0.8)


def test_no_objects_make_an_empty_mask():
    label_mask, shapes = results.compose(torch.zeros(0, 64, 64), [], (30, 40))
    assert label_mask.shape == (30, 40)
    assert not label_mask.any()
    assert shapes == []


# pycocotools 2.0 decodes into an array type that NumPy 2 warns about.
@pytest.mark.filterwarnings('ignore:__array__ implementation')
def test_rle_is_that_of_coco():
    mask = results.compose(blobs(1), [1], (48, 64))[0] == 1
    decoded = coco_mask.decode({'size': [48, 64], 'counts': messages.encode_rle(mask)})
    assert np.array_equal(decoded.astype(bool), mask)


def test_overlays_paint_objects_only():
    rgb = np.full((48, 64, 3), 90, np.uint8)
    label_mask = np.zeros((48, 64), np.uint8)
    label_mask[10:20, 10:20] = 2
    painted = visualization.overlay(rgb, label_mask)
    assert (painted[label_mask == 0] == 90).all()
    assert (painted[label_mask > 0] != 90).any(axis=-1).all()
    assert np.array_equal(painted[10, 10], visualization.label_colors()[2])  # the outline is solid


def test_colors_of_many_labels_differ():
    colors = visualization.label_colors()
    assert len({tuple(color) for color in colors[:65].tolist()}) > 60
    assert not colors[0].any()
