import numpy as np

from robust_vos_ros.data.mask_points import three_points


def test_clicks_are_deep_and_apart():
    mask = np.zeros((60, 80), bool)
    mask[10:50, 5:45] = True
    mask[28:33, 45:75] = True  # an arm
    points = three_points(mask)
    assert points.shape == (3, 2)
    assert points.dtype == np.float32
    assert np.abs(points[0] - (24.5, 29.5)).max() <= 1
    assert points[1][0] == 73  # near the end of the arm, 2 px inside
    for x, y in points.astype(int):
        assert mask[y - 1 : y + 2, x - 1 : x + 2].all()
    assert np.linalg.norm(points[2] - points[1]) > 30 < np.linalg.norm(points[1] - points[0])
    assert np.array_equal(points, three_points(mask))


def test_clicks_on_a_tiny_object_repeat():
    mask = np.zeros((9, 9), bool)
    mask[4, 6] = True
    assert three_points(mask).tolist() == [[6, 4]] * 3


def test_clicks_keep_away_from_the_edge_of_the_image():
    points = three_points(np.ones((30, 40), bool))
    assert points.min() >= 1
    assert (points <= (38, 28)).all()
