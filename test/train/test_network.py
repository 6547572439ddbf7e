"""Where weights start: a classifier's MobileNetV2, a file, nothing."""

import pytest
import safetensors.torch
import torch
from torch import nn

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.backbone import MobileNetTrunk
from robust_vos_ros.core.network.model_files import find_weights, load_spec
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.network import build_model, freeze, load_mobilenet


def classifier_state(trunk, *, prefix='features.'):
    """Return a state dict in torchvision's order: convolution, then its batch norm."""
    torch.manual_seed(0)
    state = {}
    for index, conv in enumerate(m for m in trunk.modules() if isinstance(m, nn.Conv2d)):
        channels = conv.out_channels
        state[f'{prefix}{index}.0.weight'] = torch.randn(conv.weight.shape) * 0.2
        state[f'{prefix}{index}.1.weight'] = torch.rand(channels) + 0.5
        state[f'{prefix}{index}.1.bias'] = torch.randn(channels) * 0.1
        state[f'{prefix}{index}.1.running_mean'] = torch.randn(channels) * 0.1
        state[f'{prefix}{index}.1.running_var'] = torch.rand(channels) + 0.5
        state[f'{prefix}{index}.1.num_batches_tracked'] = torch.tensor(7)
    state['classifier.1.weight'] = torch.randn(1000, 1280)
    return state


def with_batch_norms(trunk, state):
    """Return the same trunk with the batch norms of the classifier, not folded."""
    tensors = list(state.values())
    starts = iter(index for index, tensor in enumerate(tensors) if tensor.ndim == 4)

    def convert(module):
        for name, child in module.named_children():
            if not isinstance(child, nn.Conv2d):
                convert(child)
                continue
            weight, gain, offset, mean, variance = tensors[(at := next(starts)) : at + 5]
            conv = nn.Conv2d(
                child.in_channels, child.out_channels, child.kernel_size, child.stride,
                child.padding, groups=child.groups, bias=False,
            )  # fmt: skip
            norm = nn.BatchNorm2d(child.out_channels)
            conv.weight.data, norm.weight.data, norm.bias.data = weight, gain, offset
            norm.running_mean, norm.running_var = mean, variance
            setattr(module, name, nn.Sequential(conv, norm))
        return module

    return convert(trunk).eval()


def test_folded_batch_norms_change_nothing(tmp_path):
    path = tmp_path / 'mobilenet_v2.pth'
    torch.save(classifier_state(MobileNetTrunk()), path)
    folded = MobileNetTrunk().eval()
    load_mobilenet(folded, path)
    original = with_batch_norms(MobileNetTrunk(), torch.load(path, weights_only=True))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for have, want in zip(folded(image), original(image), strict=True):
            assert (have - want).norm() < 1e-4 * want.norm()


def test_trunk_has_the_strides_and_channels_it_names():
    trunk = MobileNetTrunk()
    maps = trunk(torch.zeros(2, 3, 64, 96))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [m.shape[1] for m in maps] == trunk.channel_list[::-1]


def shortened(state):
    return dict(list(state.items())[:60])


def reshaped(state):
    return state | {next(iter(state)): torch.zeros(16, 3, 3, 3)}


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (shortened, 'expected at least'),
        (reshaped, r'expected \(32, 3, 3, 3\), got \(16, 3, 3, 3\)'),
        (lambda state: [1, 2], 'not a MobileNetV2 checkpoint'),
    ],
)
def test_other_files_are_refused(tmp_path, spoil, message):
    path = tmp_path / 'other.pth'
    torch.save(spoil(classifier_state(MobileNetTrunk())), path)
    with pytest.raises(WeightsError, match=message):
        load_mobilenet(MobileNetTrunk(), path)


def test_a_missing_file_and_another_trunk_are_refused(tmp_path):
    with pytest.raises(WeightsError, match='No such file'):
        load_mobilenet(MobileNetTrunk(), tmp_path / 'none.pth')
    with pytest.raises(ConfigError, match='MobileNetTrunk'):
        load_mobilenet(nn.Conv2d(3, 8, 3), tmp_path / 'none.pth')


def test_frozen_parts_do_not_train_and_unknown_ones_are_errors():
    trunk = MobileNetTrunk()
    freeze(trunk, ['features.0.', 'features.1.'])
    frozen = {name.split('.')[1] for name, p in trunk.named_parameters() if not p.requires_grad}
    assert frozen == {'0', '1'}
    with pytest.raises(ConfigError, match='frozen: expected the prefix of a parameter'):
        freeze(trunk, ['feature.0'])


def test_random_weights_depend_on_the_seed_alone(tiny_settings):
    one, two, other = (
        build_model(tiny_settings(seed=seed)).net.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_weights_without_the_classifier_of_calibration_get_an_input_that_changes_nothing(tmp_path):
    name = 'object_calibration.join_maps.weight'
    shipped = safetensors.torch.load_file(find_weights(load_spec('nano')))
    older = shipped | {name: shipped[name][:, :-1].contiguous()}
    safetensors.torch.save_file(older, tmp_path / 'older.safetensors')
    settings = parse_settings(TrainSettings, {'weights': str(tmp_path / 'older.safetensors')})
    started = build_model(settings).net.object_calibration.join_maps.weight
    assert torch.equal(started[:, :-1], older[name].float())
    assert not started[:, -1].any()
