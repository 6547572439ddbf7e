"""What masks look like, on features of real shape."""

import pytest
import torch

from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.reid.appearance import (
    AppearanceEmbedder,
    Projection,
    average,
    feature_map,
    feature_map_width,
)

C, SIDE = 32, 64  # width of the network, side of a mask
GREY = torch.full((256, 256, 3), 128, dtype=torch.uint8)


def paint(seed, boxes=(), image=GREY):
    """Noise everywhere; each (channel, y, x) is a box of 16 x 16 cells at stride 4."""
    generator = torch.Generator().manual_seed(seed)
    fine = 0.3 * torch.randn(1, C // 8, SIDE, SIDE, generator=generator)
    middle = 0.3 * torch.randn(1, C // 4, SIDE // 2, SIDE // 2, generator=generator)
    for channel, y, x in boxes:
        fine[0, channel, y : y + 16, x : x + 16] += 4.0
    features = Features(torch.zeros(1, C, 16, 16), torch.zeros(1, 256, C), (fine, middle))
    return feature_map(features, image)


def box(y, x):
    logits = torch.full((1, SIDE, SIDE), -5.0)
    logits[0, y : y + 16, x : x + 16] = 5.0
    return logits


def cosine(one, other):
    return float((one * other).sum())


def test_an_object_looks_like_itself_at_another_place_and_not_like_another():
    embeddings = AppearanceEmbedder(C, torch.device('cpu'), None)
    known = embeddings.embed_masks(paint(0, [(0, 4, 8), (1, 40, 40)]), box(4, 8))
    later = paint(1, [(0, 30, 2), (1, 2, 40)])
    assert cosine(known, embeddings.embed_masks(later, box(30, 2))) > 0.6
    assert cosine(known, embeddings.embed_masks(later, box(2, 40))) < 0.3
    assert cosine(known, embeddings.embed_masks(later, box(44, 44))) < 0.3  # background


def test_things_of_equal_features_are_told_apart_by_their_colour_also_in_the_dark():
    embeddings = AppearanceEmbedder(C, torch.device('cpu'), None)
    image = GREY.clone()
    image[16:80, 16:80] = torch.tensor([230, 40, 40], dtype=torch.uint8)  # red
    image[16:80, 160:224] = torch.tensor([40, 60, 230], dtype=torch.uint8)  # blue
    red = embeddings.embed_masks(paint(0, image=image), box(4, 4))
    night = paint(1, image=image // 2)
    same, other = (embeddings.embed_masks(night, box(4, x)) for x in (4, 40))
    assert cosine(red, same) > cosine(red, other) + 0.3


def test_descriptions_have_length_1_and_empty_masks_none():
    masks = torch.cat([box(0, 0), torch.full((1, SIDE, SIDE), -1.0)])
    norms = (
        AppearanceEmbedder(C, torch.device('cpu'), None).embed_masks(paint(0), masks).norm(dim=1)
    )
    assert norms.tolist() == pytest.approx([1.0, 0.0])


def test_a_map_decides_what_counts():
    dim = feature_map_width(C)
    only_fine = torch.zeros(dim, 2)
    only_fine[0, 0] = only_fine[1, 1] = 1.0
    chart = Projection(torch.zeros(dim), only_fine)
    embeddings = AppearanceEmbedder(C, torch.device('cpu'), chart)
    scene = paint(0, [(0, 4, 8), (1, 40, 40)])
    assert embeddings.dim == 2
    one, other = (
        embeddings.embed_masks(scene, box(4, 8)),
        embeddings.embed_masks(scene, box(40, 40)),
    )
    assert one.argmax() == 0
    assert other.argmax() == 1
    assert embeddings.name not in {'none', AppearanceEmbedder(C, torch.device('cpu'), None).name}


def test_measures_are_relative_to_the_image():
    planes = paint(0)
    assert planes.shape == (feature_map_width(C), SIDE, SIDE)
    assert average(planes, torch.ones(1, SIDE * SIDE)).abs().max() < 1e-5


def test_a_survey_shows_where_the_thing_is():
    embeddings = AppearanceEmbedder(C, torch.device('cpu'), None)
    known = embeddings.embed_masks(paint(0, [(0, 4, 8)]), box(4, 8))[0]
    reidentifier = embeddings.embed_places(paint(1, [(0, 20, 40), (1, 44, 4)]), radius=8.0) @ known
    row, column = divmod(int(reidentifier.argmax()), SIDE // 2)
    assert abs(2 * row - 28) <= 4  # the middle of the box
    assert abs(2 * column - 48) <= 4
