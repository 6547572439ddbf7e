"""A prompt file that is changed one prompt at a time."""

import pytest

from robust_vos_ros.bags.prompt_book import PromptBook
from robust_vos_ros.bags.prompts import load_prompt_file
from robust_vos_ros.core.errors import ConfigError, PromptError

FRAME_OF = {1000: 0, 2000: 1, 3000: 2}
ADD = {'frame': 0, 'object_id': 'cup', 'box': (1, 2, 30, 40)}
OLD = """# by hand
prompts:
- {stamp_ns: 2000, object_id: cup, points: [[5, 6]]}
tracking: {lost_after_s: 1.5}
"""


def open_book(path):
    return PromptBook(path, num_frames=3, frame_of=FRAME_OF)


def test_each_change_is_written(tmp_path):
    path = tmp_path / 'prompts.yaml'
    book = open_book(path)
    assert not path.exists()
    first = book.add(ADD)
    second = book.add({'frame': 2, 'action': 'refine', 'object_id': 'cup', 'points': [(7, 8)]})
    assert [entry.action for entry in load_prompt_file(path).prompts] == ['add', 'refine']
    assert open_book(path).entries == (first, second)
    book.delete(second.number)
    assert load_prompt_file(path).prompts == [first.entry]
    book.clear()
    assert load_prompt_file(path).prompts == []
    third = open_book(path).add(ADD)
    assert third.entry == first.entry
    assert [file.name for file in tmp_path.iterdir()] == ['prompts.yaml']


def test_a_file_made_by_hand_is_kept(tmp_path):
    """Its settings in the file, its comments in a copy."""
    path = tmp_path / 'prompts.yaml'
    path.write_text(OLD)
    book = open_book(path)
    (entry,) = book.entries
    assert book.index_of(entry.entry) == 1
    book.add({**ADD, 'object_id': 'dog'})
    book.clear()
    assert load_prompt_file(path).tracking.lost_after_s == 1.5
    assert (tmp_path / 'prompts.yaml.bak').read_text() == OLD


@pytest.mark.parametrize(
    ('fields', 'error', 'words'),
    [
        (ADD, PromptError, "cannot add 'cup', which is tracked already"),
        ({**ADD, 'object_id': 'dog', 'frame': 3}, PromptError, 'a frame from 0 to 2, got 3'),
        ({**ADD, 'object_id': 'dog', 'action': 'refine'}, PromptError, "cannot refine 'dog'"),
        ({'frame': 1, 'object_id': 'dog'}, ConfigError, 'expected a box, points, a mask or text'),
        ({**ADD, 'object_id': 'x' * 300}, PromptError, 'object_id'),
    ],
)
def test_prompts_that_do_not_fit_change_nothing(tmp_path, fields, error, words):
    path = tmp_path / 'prompts.yaml'
    book = open_book(path)
    book.add(ADD)
    text = path.read_text()
    with pytest.raises(error, match=words):
        book.add(fields)
    assert path.read_text() == text
    assert len(book.entries) == 1


def test_an_object_with_corrections_is_not_deleted_first(tmp_path):
    book = open_book(tmp_path / 'prompts.yaml')
    first = book.add(ADD)
    book.add({'frame': 2, 'action': 'remove', 'object_id': 'cup'})
    with pytest.raises(PromptError, match="cannot remove 'cup'"):
        book.delete(first.number)


def test_changes_of_others_are_not_overwritten(tmp_path):
    path = tmp_path / 'prompts.yaml'
    book = open_book(path)
    book.add(ADD)
    path.write_text(OLD)
    with pytest.raises(ConfigError, match='changed by another program'):
        book.clear()
    assert path.read_text() == OLD


def test_a_book_that_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(ConfigError, match='expected an existing folder'):
        open_book(tmp_path / 'no' / 'prompts.yaml')
    path = tmp_path / 'prompts.yaml'
    path.write_text('prompts:\n- {frame: 9, object_id: cup, box: [1, 2, 3, 4]}\n')
    with pytest.raises(PromptError, match='got 9'):
        open_book(path)
    (tmp_path / 'folder.yaml').mkdir()
    with pytest.raises(ConfigError, match='cannot be read'):
        open_book(tmp_path / 'folder.yaml')
