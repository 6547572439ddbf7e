"""Adapters of the image encoder on the real nano model."""

import pytest
import torch

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.adapters.encoder import find_modules
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.network import build_model

ALL = {'places': ['neck', 'trunk'], 'layer_norms': 'none'}
PARTS = [['affine'], ['rank'], ['whole'], ['affine', 'rank', 'whole']]


def load(precision='fp32'):
    return load_model(
        ModelSettings(device='cpu', precision=precision, num_threads=1, adapter='none')
    )


@pytest.fixture
def model():
    """A model of our own, as adapters change it."""
    return load()


def image(seed=1, count=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 256, 256, 3), generator=rng).to(torch.uint8)


def encode(model, images=None):
    with model.inference():
        features = model.encode(image() if images is None else images)
    return torch.cat([t.float().flatten() for t in (features.pix, *features.high_res)])


def trained(model, **settings):
    """An adapter whose parts do something, and whose gates are partly open."""
    adapter = adapters.make_adapter(model, AdapterSettings(**ALL | settings))
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapter.encoder.named_parameters():
            size = 0.3 if name.startswith('gate') else 0.02
            if not name.startswith('down'):
                parameter.copy_(size * torch.randn(parameter.shape, generator=rng))
    return adapter


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_untrained_adapters_change_no_bit(precision):
    model = load(precision)
    before = encode(model)
    for parts in PARTS:
        settings = AdapterSettings(encoder=parts, **ALL)
        adapters.attach(model, adapters.make_adapter(model, settings))
        assert torch.equal(encode(model), before), parts


@pytest.mark.parametrize('place', ['neck', 'trunk'])
@pytest.mark.parametrize('parts', PARTS, ids='+'.join)
def test_trained_adapters_change_their_place_and_detaching_undoes_it(model, parts, place):
    before = encode(model)
    weights = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    adapters.attach(model, trained(model, encoder=parts, places=[place]))
    assert (encode(model) - before).abs().max() > 1e-2
    changed = [n for n, t in model.net.state_dict().items() if not torch.equal(t, weights[n])]
    assert changed
    assert all(name.startswith(f'image_encoder.{place}.') for name in changed)
    adapters.attach(model, trained(model, encoder=parts, places=[place]))  # replaces, not adds
    adapters.detach(model)
    assert torch.equal(encode(model), before)


def test_the_network_in_training_encodes_as_the_optimized_one(model):
    settings = TrainSettings(
        adapter={**ALL, 'encoder': PARTS[-1], 'encoder_gates': True},
        precision='fp32', device='cpu', num_threads=1,
    )  # fmt: skip
    training = build_model(settings)
    adapter = trained(model, encoder=PARTS[-1], encoder_gates=True)
    size = (len(adapter.encoder.down), 16)
    gates = (torch.rand(size, generator=torch.Generator().manual_seed(4)) > 0.5).float()
    training.adapter.encoder.load_state_dict(adapter.encoder.state_dict())
    adapters.attach(model, adapter)
    for opened in (None, gates):
        features = training.encode(image(), opened)
        model.image_encoder.open(opened)
        with model.inference():
            expected = model.encode(image())
        assert torch.allclose(features.pix, expected.pix, atol=1e-3)
    sum(x.square().mean() for x in (features.pix, *features.high_res)).backward()
    parameters = dict(training.adapter.encoder.named_parameters())
    without = {n for n, p in parameters.items() if p.grad is None}
    assert all(name.startswith('gate.') for name in without), without
    with torch.no_grad():  # the teacher's: the model without adapter
        adapters.detach(model)
        assert torch.allclose(training.encode(image()).pix, model.encode(image()).pix, atol=1e-3)


def test_gates_choose_parts_and_average_over_objects(model):
    adapters.attach(model, trained(model, encoder_gates=True, encoder=['rank']))
    encoder = model.adapter.encoder
    pointers = torch.randn(3, 4, model.hidden_dim, generator=torch.Generator().manual_seed(0))
    gates = encoder.gates(pointers, None)
    assert gates.own.shape == (3, len(encoder.down), 16)
    assert torch.allclose(gates.values, gates.own.mean(0, keepdim=True))
    assert not torch.equal(gates.own[0], gates.own[1])
    rows, shares = torch.tensor([0, 1, 1, 2]), torch.tensor([1.0, 0.5, 0.5, 1.0])
    twice = encoder.gates(pointers[rows], None, shares=shares)  # an object of two hypotheses
    assert torch.allclose(twice.values, gates.values, atol=1e-6)

    open_ = encode(model)
    model.image_encoder.open(gates.values[0])
    chosen = encode(model)
    model.image_encoder.open(torch.zeros_like(gates.values[0]))
    closed = encode(model)
    model.image_encoder.open(None)
    assert torch.equal(encode(model), open_)
    assert (chosen - open_).abs().max() > 1e-3
    adapters.detach(model)
    assert torch.allclose(encode(model), closed, atol=1e-4)


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'condition': 'features'}, 'expected the condition pointers'),  # not known in time
        ({'encoder': ['affine']}, 'expected "rank" in encoder'),
    ],
)
def test_gates_without_a_purpose_are_told(model, settings, text):
    with pytest.raises(ConfigError, match=text):
        adapters.make_adapter(model, AdapterSettings(**ALL, encoder_gates=True, **settings))


def save(path, model, adapter):
    header = {'model': model.name, 'weights_sha256': model.weights_hash}
    adapters.save_adapter(path, adapter.state_dict(), {}, adapter.settings, **header)
    return path


def test_a_file_gives_back_the_same_adapter(model, tmp_path):
    adapter = trained(model, encoder=PARTS[-1], encoder_gates=True, standardize=True)
    adapters.attach(model, adapter)
    expected = encode(model)
    path = save(tmp_path / 'a.safetensors', model, adapter)
    adapters.detach(model)
    adapters.use(model, path)
    assert torch.equal(encode(model), expected)
    assert model.adapter_name == 'a'


def test_tracks_live_on_when_the_adapter_is_switched(model, scene, tmp_path):
    """The memory of frames that were encoded before a switch stays valid."""
    gated = trained(model, encoder_gates=True, encoder=['rank'])
    with torch.no_grad():
        for parameter in gated.encoder.up.values():
            parameter.mul_(0.1)
    path = save(tmp_path / 'gated.safetensors', model, gated)
    tracker = VideoTracker(model, TrackerSettings())
    tracker.step(scene.frame(0))
    tracker.add([Prompt('disc', mask=scene.masks(0)[0])])
    for index in range(1, 7):
        adapters.use(model, path if index in {2, 3, 4} else None)
        result = tracker.step(scene.frame(index))
        assert (tracker.last_encoder_gates is not None) == (index in {2, 3, 4})
        truth, found = scene.masks(index)[0], result.mask('disc')
        assert (truth & found).sum() / (truth | found).sum() > 0.7, index


def test_only_convolutions_and_norms_of_the_places_are_found(model):
    names = find_modules(model.net.image_encoder, ['attention', 'neck'])
    assert set(names) == {f'neck.convs.{i}.conv' for i in range(4)}
    assert find_modules(model.net.image_encoder, ['attention']) == {}
    training = build_model(TrainSettings(device='cpu', num_threads=1))
    places = ['neck', 'trunk']
    assert list(find_modules(model.net.image_encoder, places)) == list(
        find_modules(training.net.image_encoder, places)
    )


def test_a_switch_takes_the_adapter_out_on_clean_images_bit_by_bit(model):
    """Noise is told from a smooth image by statistics; there is nothing in between here."""
    smooth = torch.full((1, 256, 256, 3), 90, dtype=torch.uint8)
    before = [encode(model, images) for images in (smooth, image())]
    adapter = trained(model, encoder_switch=True).eval()
    _, first, *_, last = adapter.encoder.switch.layers
    with torch.no_grad():
        for parameter in adapter.encoder.switch.parameters():
            parameter.zero_()
        # The size of details is the eleventh statistic: on above 20 grey levels.
        first.weight[0, 10], first.bias[0] = 1.0, -3.0
        adapter.encoder.switch.layers[3].weight[0, 0] = 1.0
        last.weight[0, 0], last.bias[0] = 1.0, -0.01
    adapters.attach(model, adapter)
    for _ in range(2):
        assert torch.equal(encode(model, smooth), before[0])
        assert (encode(model) - before[1]).abs().max() > 1e-2
    adapters.detach(model)
    assert torch.equal(encode(model), before[1])
