"""Our pass through SAM 2's memory attention equals the packaged one."""

import pytest
import torch

from robust_vos_ros.core.network import memory_attention
from robust_vos_ros.core.network.memory_attention import Memory


def random_memory(model, num_objects, num_entries, num_pointer_tokens, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shape = (num_objects, num_entries, model.grid_size**2, model.memory_dim)
    spatial = torch.randn(shape, generator=rng)
    pointers = torch.randn(num_objects, num_pointer_tokens, model.memory_dim, generator=rng)
    return Memory(spatial, spatial + 0.1, pointers, pointers - 0.1, None)


def random_tokens(model, num_objects):
    rng = torch.Generator().manual_seed(1)
    shape = (num_objects, model.grid_size**2, model.hidden_dim)
    return torch.randn(shape, generator=rng), torch.randn((1, *shape[1:]), generator=rng)


@pytest.mark.parametrize('num_objects', [1, 5])
def test_equal_memories_give_the_packaged_result(model, num_objects):
    memory = random_memory(model, num_objects, 3, 8)
    tokens, pos = random_tokens(model, num_objects)
    with torch.inference_mode():
        ours = memory_attention.attend(model.net.memory_attention, tokens, pos, memory)
        theirs = model.net.memory_attention(
            curr=tokens.transpose(0, 1),
            curr_pos=pos.expand_as(tokens).transpose(0, 1),
            memory=torch.cat([memory.spatial_BSNM.flatten(1, 2), memory.pointer_BKM], 1).transpose(
                0, 1
            ),
            memory_pos=torch.cat(
                [
                    (memory.spatial_keys_BSNM - memory.spatial_BSNM).flatten(1, 2),
                    memory.pointer_keys_BKM - memory.pointer_BKM,
                ],
                dim=1,
            ).transpose(0, 1),
            num_obj_ptr_tokens=8,
        ).transpose(0, 1)
    assert (ours - theirs).abs().max() < 1e-4


def test_masked_keys_count_as_absent(model):
    memory = random_memory(model, 2, 4, 8)
    tokens, pos = random_tokens(model, 1)
    cells = model.grid_size**2
    mask = torch.ones(2, 1, 4 * cells + 8, dtype=torch.bool)
    mask[1, 0, 2 * cells : 4 * cells] = False
    mask[1, 0, -3:] = False
    padded = Memory(
        memory.spatial_BSNM, memory.spatial_keys_BSNM, memory.pointer_BKM,
        memory.pointer_keys_BKM, mask,
    )  # fmt: skip
    short = Memory(
        memory.spatial_BSNM[1:, :2], memory.spatial_keys_BSNM[1:, :2], memory.pointer_BKM[1:, :-3],
        memory.pointer_keys_BKM[1:, :-3], None,
    )  # fmt: skip
    with torch.inference_mode():
        both = memory_attention.attend(model.net.memory_attention, tokens, pos, padded)
        alone = memory_attention.attend(model.net.memory_attention, tokens, pos, short)
    assert (both[1] - alone[0]).abs().max() < 1e-4


def test_the_bf16_path_of_the_cpu_equals_torch_to_rounding(model):
    rng = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(3, n, 32, generator=rng) for n in (16, 40, 40))
    mask = torch.rand(3, 1, 40, generator=rng) > 0.3
    exact = memory_attention._attention(query, key, value, mask)
    fast = memory_attention._attention(query.bfloat16(), key.bfloat16(), value.bfloat16(), mask)
    assert (exact - fast.float()).abs().max() < 0.05
