import numpy as np
import pytest

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.eval.prompting import make_prompt, tight_box


def test_a_box_is_tight():
    mask = np.zeros((10, 20), bool)
    mask[3:5, 7:20] = True
    assert tight_box(mask).tolist() == [7, 3, 20, 5]


def test_prompts_of_a_mask():
    mask = np.zeros((20, 30), bool)
    mask[5:15, 8:22] = True
    assert np.array_equal(make_prompt('mask', mask, 'a').mask, mask)
    assert make_prompt('box', mask, 'a').box.tolist() == [8, 5, 22, 15]
    clicks = make_prompt('clicks3', mask, 'a')
    assert clicks.points.shape == (3, 2)
    assert clicks.point_labels.tolist() == [1, 1, 1]
    click = make_prompt('click1', mask, 'a')
    assert np.array_equal(click.points, clicks.points[:1])
    with pytest.raises(
        ConfigError, match="expected one of mask, box, clicks3, click1, got 'words'"
    ):
        make_prompt('words', mask, 'a')
