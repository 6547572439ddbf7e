"""Words in prompt files."""

from pathlib import Path

import pytest

from robust_vos_ros.bags.prompts import PromptFile, make_plan
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import parse_settings


@pytest.mark.parametrize(
    ('more', 'alone'),
    [({}, True), ({'box': [1, 2, 30, 40]}, False)],
    ids=['words alone', 'words beside a box'],
)
def test_words_reach_the_prompt(more, alone):
    entry = {'frame': 0, 'object_id': 'rex', 'text': 'the dog', **more}
    plan = make_plan(
        parse_settings(PromptFile, {'prompts': [entry]}), Path(), num_frames=1, frame_of={}
    )
    (prompt,) = plan[0].add
    assert (prompt.text, prompt.is_text_alone) == ('the dog', alone)


def test_words_remove_nothing():
    entry = {'frame': 0, 'object_id': 'rex', 'text': 'the dog', 'action': 'remove'}
    with pytest.raises(ConfigError, match='none to remove'):
        parse_settings(PromptFile, {'prompts': [entry]})
