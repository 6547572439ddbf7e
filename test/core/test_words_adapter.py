"""The adapter: nothing changes before training, nothing comes from the future."""

import pytest
import torch

from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.words.adapter import BlockAttention, ConditionalMemory, Glimpse, blend
from robust_vos_ros.core.words.finder import load_words, make_words, save_words
from robust_vos_ros.core.words.module import Texts, WordsSettings
from robust_vos_ros.core.words.text import Expression

MAX_PARAMETERS = 1_200_000


@pytest.fixture(scope='module')
def words(model):
    torch.manual_seed(3)
    return make_words(model, WordsSettings()).eval()


def expression(seed=0, length=5, width=384):
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randn(length, width, generator=rng)
    sentence = torch.nn.functional.normalize(tokens.mean(0), dim=0)
    return Expression(f'text {seed}', tokens, sentence, torch.zeros(width), torch.zeros(width))


def encode(model, scene, index=0):
    from robust_vos_ros.core.zoom.window import resize

    return model.encode(resize(scene.frame(index).rgb, model.image_size)[None])


def glimpse_of(words, features):
    return words.glimpse(features.stages[:-4:-1])


def test_an_untrained_adapter_changes_no_bit(model, words, scene):
    with torch.inference_mode():
        features = encode(model, scene)
        said = words.condition(
            words.scene([glimpse_of(words, features)]), Texts.of([expression(), expression(1, 9)])
        )
        conditioned = model.image_encoder.condition(features, said.updates).pix
    assert conditioned.shape[0] == 2
    assert torch.equal(conditioned[0], features.pix[0])
    assert torch.equal(said.match, said.coarse)


def test_expressions_in_one_batch_do_not_mix(model, words, scene):
    with torch.inference_mode():
        here = words.scene([glimpse_of(words, encode(model, scene))])
        both = words.condition(here, Texts.of([expression(), expression(1, 9)]))
        alone = words.condition(here, Texts.of([expression()]))
    torch.testing.assert_close(both.prompts[:1], alone.prompts, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.coarse[:1], alone.coarse, atol=1e-4, rtol=1e-5)


def test_attention_stays_in_its_block_and_sees_earlier_frames():
    torch.manual_seed(1)
    block = BlockAttention(8, 2, 2, 4)
    torch.nn.init.normal_(block.out.weight)
    now, before, changed = (
        torch.randn(1, 8, 4, 4),
        torch.randn(1, 8, 4, 4),
        torch.randn(1, 8, 4, 4),
    )
    with torch.no_grad():
        first = block([now, before])
        elsewhere = before.clone()
        elsewhere[..., 2:] = changed[..., 2:]
        second = block([now, elsewhere])
    assert torch.equal(first[..., :2], second[..., :2])
    assert not torch.allclose(first[..., 2:], second[..., 2:])


def test_the_ring_is_bounded(model, words, scene):
    with torch.inference_mode():
        glimpse = glimpse_of(words, encode(model, scene))
        many = [glimpse] + [Glimpse(tuple(x + 1 for x in glimpse.levels))] * 20
        long, short = words.scene(many), words.scene(many[: words.settings.frames])
    assert torch.equal(long.meaning, short.meaning)


def test_trained_parameters_are_few(words):
    assert sum(p.numel() for p in words.parameters() if p.requires_grad) <= MAX_PARAMETERS


def test_a_file_is_for_one_image_encoder(model, words, tmp_path, monkeypatch):
    path = tmp_path / 'words.safetensors'
    save_words(path, words, model)
    again = load_words(path, model)
    assert torch.equal(again.read.weight, words.read.weight.half().float())
    monkeypatch.setattr(model, 'encoder_hash', 'of another one')
    with pytest.raises(WeightsError, match='other weights'):
        load_words(path, model)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match='cannot be read'):
        load_words(path, model)


def test_memory_is_blended_by_the_probability():
    followed, seen = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    mixed = blend(followed, seen, torch.tensor([0.0, 0.25]))
    assert mixed[0].max() == 0.0
    assert mixed[1].unique().tolist() == [0.25]
    assert ConditionalMemory(16)(torch.randn(3, 16), torch.randn(3, 16)).shape == (3,)
