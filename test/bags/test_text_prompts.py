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


@pytest.mark.parametrize(
    ('action', 'more', 'is_enough'),
    [
        ('refine', {'class_id': 'lid'}, True),
        ('refine', {'text': 'the lid'}, True),  # what to find again
        ('refine', {}, False),
        ('add', {'class_id': 'lid'}, False),  # where?
    ],
)
def test_a_class_or_words_can_be_changed_alone(action, more, is_enough):
    box = {'frame': 0, 'object_id': 'rex', 'box': [1, 2, 30, 40]}
    entries = [box, {'frame': 1, 'object_id': 'rex', 'action': action, **more}]
    if not is_enough:
        with pytest.raises(ConfigError, match='or a class to refine'):
            parse_settings(PromptFile, {'prompts': entries})
        return
    file = parse_settings(PromptFile, {'prompts': entries})
    (prompt,) = make_plan(file, Path(), num_frames=2, frame_of={})[1].refine
    assert (prompt.class_id, prompt.text) == (more.get('class_id', ''), more.get('text', ''))


def test_words_remove_nothing():
    entry = {'frame': 0, 'object_id': 'rex', 'text': 'the dog', 'action': 'remove'}
    with pytest.raises(ConfigError, match='none to remove'):
        parse_settings(PromptFile, {'prompts': [entry]})
