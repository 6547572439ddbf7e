import copy
import platform

import pytest
import torch

from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.optimize import (
    explain_precision,
    find_precision,
    keep_freed_memory,
    optimize,
    spare_threads,
)
from robust_vos_ros.core.stages import measure_stages, stage

CPU = torch.device('cpu')


def test_glibc_takes_the_settings():
    assert keep_freed_memory() is (platform.libc_ver()[0] == 'glibc')


def test_an_optimized_network_gives_the_same_results():
    """Packed convolutions, and the decoder's transformer in another order, change rounding only.

    The second image has another shape, for which nothing was packed.
    """
    spec = model_files.load_spec('nano')
    plain = checkpoints.build_network(spec)
    plain.load_state_dict(checkpoints.read_state_dict(model_files.find_weights(spec)))
    plain.eval().requires_grad_(False)
    fast = copy.deepcopy(plain)
    optimize(fast, CPU, 'fp32')
    rng = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch in (1, 2):
            image = torch.randn(batch, 3, 256, 256, generator=rng)
            ours, theirs = (net.forward_image(image)['backbone_fpn'] for net in (fast, plain))
            for our, their in zip(ours, theirs, strict=True):
                torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-4)
        cells, place = torch.randn(2, 3, 128, 16, 16, generator=rng)
        tokens = torch.randn(3, 8, 128, generator=rng)
        place = place[:1].expand(3, -1, -1, -1)
        ours, theirs = (
            net.sam_mask_decoder.transformer(cells, place, tokens) for net in (fast, plain)
        )
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['auto', 'fp32'])
def test_the_choice_of_precision_is_explained(name):
    reason = explain_precision(name, CPU)
    if name == 'fp32':
        assert reason == 'as requested'
    else:
        assert ('has no bf16' in reason) is (find_precision(name, CPU) == 'fp32')


def test_a_stage_counts_once_and_only_while_measured():
    @stage('inner')
    def inner():
        return 1

    @stage('outer')
    def outer():
        return inner()

    with measure_stages() as times_ns:
        assert outer() == inner() == 1
        assert set(times_ns) == {'inner', 'outer'}
        before = dict(times_ns)
        outer()
        assert times_ns['inner'] == before['inner'], 'the outer one has the time of the inner one'
    before = dict(times_ns)
    outer()
    assert times_ns == before


@pytest.mark.parametrize(
    ('given', 'of_torch', 'used'),
    [
        (None, 8, 7),
        (None, 2, 1),
        (None, 1, 1),  # there is no core to spare
        ('4', 4, 4),  # chosen by the user
    ],
)
def test_a_core_is_left_to_camera_and_dds(monkeypatch, given, of_torch, used):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if given:
        monkeypatch.setenv('OMP_NUM_THREADS', given)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: of_torch)
    assert spare_threads.__wrapped__() == used
