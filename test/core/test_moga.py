"""Adapters of the memory attention on the real nano model."""

import itertools

import pytest
import torch

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.adapters.gates import Sampling
from robust_vos_ros.core.adapters.moga import Moga
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.network.checkpoints import build_network, load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import load_spec
from robust_vos_ros.core.network.tensors import MemoryView
from robust_vos_ros.core.settings import ModelSettings

VARIANTS = [
    *itertools.product(('paper', 'per_object', 'released'), ('pointers', 'aggregated')),
    ('paper', 'features'),
    ('paper', 'none'),
]


@pytest.fixture
def model():
    """A model of our own, as adapters change it."""
    return load_model(ModelSettings(device='cpu', precision='fp32', num_threads=1, adapter='none'))


def random_view(model, num_objects=3, num_pointers=5, *, masked=False):
    rng = torch.Generator().manual_seed(0)
    cells = model.grid_size**2
    spatial = torch.randn(num_objects, 2, cells, model.memory_dim, generator=rng)
    pointers = torch.randn(num_objects, num_pointers, model.hidden_dim, generator=rng)
    valid = None
    if masked:
        valid = (
            torch.ones(num_objects, 2, dtype=bool),
            torch.ones(num_objects, num_pointers, dtype=bool),
        )
        valid[1][0, 3:] = False
    age = torch.zeros(num_objects, 2, dtype=torch.long)
    return MemoryView(
        spatial.bfloat16(), age, pointers, torch.ones(num_objects, num_pointers), valid
    )


def random_features(model):
    rng = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (1, model.image_size, model.image_size, 3), generator=rng)
    with model.inference():
        return model.encode(image.to(torch.uint8))


def trained(model, **settings):
    """An adapter whose parts do something, and whose gates are partly open."""
    adapter = adapters.make_adapter(model, AdapterSettings(rank=16, **settings))
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        adapter.up.copy_(0.05 * torch.randn(adapter.up.shape, generator=rng))
        for parameter in [] if adapter.gate is None else adapter.gate.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=rng))
    return adapter


def attend(model, features, view):
    with model.inference():
        return model.attend(features, view, model.gates(features, view))


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
@pytest.mark.parametrize(('mode', 'condition'), VARIANTS)
def test_untrained_adapters_change_no_bit(mode, condition, precision):
    model = load_model(
        ModelSettings(device='cpu', precision=precision, num_threads=1, adapter='none')
    )
    features, view = random_features(model), random_view(model)
    before = attend(model, features, view)
    settings = AdapterSettings(mode=mode, condition=condition, rank=16)
    adapters.attach(model, adapters.make_adapter(model, settings))
    assert torch.equal(attend(model, features, view), before)


@pytest.mark.parametrize(('mode', 'condition'), VARIANTS)
def test_trained_adapters_change_and_detaching_undoes_it(model, mode, condition):
    features, view = random_features(model), random_view(model)
    before = attend(model, features, view)
    norm = 'memory_attention.layers.0.norm1.weight'
    change = {norm: torch.full((model.hidden_dim,), 0.1)}
    adapters.attach(model, trained(model, mode=mode, condition=condition), change)
    assert (attend(model, features, view) - before).abs().max() > 1e-2
    adapters.attach(model, trained(model, mode=mode, condition=condition))  # replaces, not adds
    adapters.detach(model)
    assert torch.equal(attend(model, features, view), before)


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('mode', ['paper', 'per_object', 'released'])
def test_folded_gates_equal_the_sum_over_pointers_and_objects(model, mode, masked):
    """The mean of B (z * A x) over pointers (and objects), one by one, as the paper writes it."""
    view = random_view(model, masked=masked)
    adapter = trained(model, mode=mode)
    x = torch.randn(3, 20, model.hidden_dim, generator=torch.Generator().manual_seed(3))
    linear = model.net.memory_attention.layers[1].self_attn.q_proj
    valid = None if view.valid is None else view.valid[1]
    parts = model.hidden_dim // model.memory_dim if mode == 'released' else 1
    with torch.inference_mode():
        gates = adapter.gates(view.pointers, valid, torch.zeros(1))
        folded = adapter.project(gates, 1, 'self_q', linear, x)
        tokens = view.pointers.reshape(3, 5 * parts, -1)
        deltas = []
        for row in range(3):
            exist = [True] * 5 if valid is None else valid[row].tolist()
            z = [
                (adapter.gate(tokens[row, t])[1, 0] > 0).float()
                for t in range(5 * parts)
                if exist[t // parts]
            ]
            deltas.append([(v, adapter.down[1, 0], adapter.up[1, 0]) for v in z])

        def update(row, x):
            terms = [(x @ down.T * v) @ up.T for v, down, up in deltas[row]]
            return torch.stack(terms).mean(0)

        for row in range(3):
            if mode == 'released':
                naive = linear(x[row] + update(row, x[row]) / 16)
            elif mode == 'per_object':
                naive = linear(x[row]) + update(row, x[row])
            else:
                naive = linear(x[row]) + torch.stack([update(o, x[row]) for o in range(3)]).mean(0)
            assert (folded[row] - naive).abs().max() < 1e-5


def test_gates_differ_between_objects_and_are_shared_where_they_should_be(model):
    view, features = random_view(model), random_features(model)

    def values(**settings):
        adapter = trained(model, **settings)
        return adapter.gates(view.pointers, None, features.pix).values

    own = values(mode='per_object')
    assert own.shape == (3, 2, 4, 16)
    assert not torch.equal(own[0], own[1])
    assert torch.allclose(values(mode='paper'), own.mean(0, keepdim=True))
    assert values(mode='per_object', condition='aggregated').shape[0] == 1
    assert values(condition='features').shape[0] == 1
    assert values(condition='none').eq(1).all()


def test_objects_of_other_videos_do_not_count(model):
    view = random_view(model, num_objects=4)
    groups = torch.tensor([0, 1, 0, 1])
    for settings in ({'mode': 'paper'}, {'condition': 'aggregated'}):
        adapter = trained(model, **settings)
        both = adapter.gates(view.pointers, None, torch.zeros(1), groups=groups).values
        alone = adapter.gates(view.pointers[1::2], None, torch.zeros(1)).values
        assert torch.allclose(both[1], alone[0], atol=1e-6)
        assert torch.equal(both[1], both[3])
        assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize(('noise', 'open_share'), [('gumbel', 0.632), ('logistic', 0.5)])
def test_sampled_gates_are_0_or_1_and_open_as_often_as_their_noise_says(model, noise, open_share):
    """With logits of 0: 1 - exp(-1) with one Gumbel noise, a half with the difference of two."""
    adapter = adapters.make_adapter(
        model, AdapterSettings(rank=64, mode='per_object', noise=noise)
    )
    for parameter in adapter.gate.parameters():
        parameter.data.zero_()
    pointers = torch.zeros(200, 1, model.hidden_dim)
    sampling = Sampling(0.3, torch.Generator().manual_seed(0))
    z = adapter.gates(pointers, None, torch.zeros(1), sampling=sampling).values
    assert set(z.unique().tolist()) <= {0.0, 1.0}
    assert z.mean().item() == pytest.approx(open_share, abs=0.01)
    again = Sampling(0.3, torch.Generator().manual_seed(0))
    assert torch.equal(adapter.gates(pointers, None, torch.zeros(1), sampling=again).values, z)


@pytest.mark.parametrize(('mode', 'condition'), VARIANTS)
def test_gradients_reach_gates_through_hard_decisions(model, mode, condition):
    adapter = trained(model, mode=mode, condition=condition)
    view, features = random_view(model), random_features(model)
    sampling = Sampling(0.3, torch.Generator().manual_seed(0))
    pix = features.pix.clone().expand(3, -1, -1, -1)
    gates = adapter.gates(
        view.pointers, None, pix, sampling=sampling, groups=torch.zeros(3, dtype=int)
    )
    x = torch.randn(3, 20, model.hidden_dim, generator=torch.Generator().manual_seed(3))
    linear = model.net.memory_attention.layers[0].self_attn.q_proj
    adapter.project(gates, 0, 'self_q', linear, x).square().sum().backward()
    assert adapter.down.grad[0, 0].abs().sum() > 0
    assert adapter.up.grad[0, 0].abs().sum() > 0
    if condition != 'none':
        first = next(adapter.gate.parameters())
        assert first.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('changes', 'trained_numbers'),
    [
        (  # as its authors count
            {
                'mode': 'released',
                'places': ['attention', 'trunk'],
                'encoder': ['affine'],
                'layer_norms': 'none',
            },
            1_094_112,
        ),
        ({'mode': 'paper'}, 1_141_344),
    ],
)
def test_about_a_million_numbers_are_trained_on_sam2_base_plus(changes, trained_numbers):
    spec = load_spec('sam2.1_hiera_base_plus')
    model = Model(
        build_network(spec), name=spec.name, weights_hash='', device=torch.device('cpu'),
        precision='fp32',
    )  # fmt: skip
    adapter = adapters.make_adapter(model, AdapterSettings(rank=128, **changes))
    assert adapters.count_parameters(model, adapter) == trained_numbers
    assert abs(trained_numbers - 1.1e6) < 0.05e6


def save(path, network, adapter, norms, **changes):
    header = {'model': network.name, 'weights_sha256': network.weights_hash, **changes}
    adapters.save_adapter(path, adapter.state_dict(), norms, adapter.settings, **header)
    return path


def test_a_file_gives_back_the_same_adapter(model, tmp_path):
    features, view = random_features(model), random_view(model)
    adapter = trained(model, mode='per_object')
    names = adapters.norm_names(model, adapter.settings)
    norms = {n: 0.01 * torch.ones(model.hidden_dim) for n in names}
    adapters.attach(model, adapter, norms)
    expected = attend(model, features, view)
    path = save(tmp_path / 'a.safetensors', model, adapter, norms)
    assert adapters.is_adapter(path)
    adapters.detach(model)
    adapters.attach(model, *adapters.load_adapter(path, model))
    assert torch.equal(attend(model, features, view), expected)


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        ({'model': 'sam2.1_hiera_tiny'}, 'expected an adapter of model nano, got one of sam2.1'),
        ({'weights_sha256': 'ab'}, 'expected an adapter of weights_sha256 .*, got one of ab'),
    ],
)
def test_adapters_of_other_models_name_both(model, tmp_path, spoil, text):
    adapter = trained(model, layer_norms='none')
    path = save(tmp_path / 'a.safetensors', model, adapter, {}, **spoil)
    with pytest.raises(WeightsError, match=text):
        adapters.load_adapter(path, model)


def test_damaged_files_are_told(model, tmp_path):
    adapter = trained(model)
    path = save(tmp_path / 'a.safetensors', model, adapter, {})  # without its LayerNorms
    with pytest.raises(WeightsError, match='expected LayerNorms with memory_attention'):
        adapters.load_adapter(path, model)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match='expected an adapter file of robust_vos'):
        adapters.load_adapter(path, model)
    assert not adapters.is_adapter(path)
    with pytest.raises(WeightsError, match='expected an adapter file'):
        adapters.load_adapter(tmp_path / 'missing.safetensors', model)


@pytest.mark.parametrize('settings', [{'layer_norms': 'none'}, {'places': ['trunk']}])
def test_norms_of_the_memory_attention_belong_to_its_adapter(model, settings):
    assert adapters.norm_names(model, AdapterSettings(**settings)) == []


def test_rank_0_leaves_only_the_norms(model):
    features, view = random_features(model), random_view(model)
    before = attend(model, features, view)
    adapter = Moga(
        AdapterSettings(rank=0), dim=model.hidden_dim, pointer_dim=model.hidden_dim,
        memory_dim=model.memory_dim, num_layers=2,
    )  # fmt: skip
    adapters.attach(model, adapter)
    assert torch.equal(attend(model, features, view), before)


@pytest.mark.parametrize('condition', ['pointers', 'aggregated'])
def test_an_object_of_several_hypotheses_counts_once(model, condition):
    """The shared gates are those of the objects, however many hypotheses each has."""
    adapter = trained(model, mode='paper', condition=condition)
    view = random_view(model)
    rows = torch.tensor([0, 1, 1, 1, 2])  # the second object has three hypotheses
    shares = torch.tensor([1.0, 1 / 3, 1 / 3, 1 / 3, 1.0])
    with torch.inference_mode():
        once = adapter.gates(view.pointers, None, torch.zeros(1))
        thrice = adapter.gates(view.pointers[rows], None, torch.zeros(1), shares=shares)
        counted = adapter.gates(view.pointers[rows], None, torch.zeros(1))
    assert torch.allclose(thrice.values, once.values, atol=1e-6)
    if condition == 'pointers':
        assert not torch.allclose(counted.values, once.values, atol=1e-3)
        assert torch.equal(thrice.own, once.own[rows])
