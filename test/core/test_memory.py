import numpy as np
import pytest
import torch

from robust_vos_ros.core.memory import ObjectMemory

ENTRY = (4, 2)
BOTH = np.array([0, 2])


@pytest.fixture
def memory():
    return ObjectMemory(
        capacity=3, num_prompted=2, num_recent=3, num_pointers=5, entry_shape=ENTRY,
        pointer_dim=2, device=torch.device('cpu'),
    )  # fmt: skip


def entry(value, num=1):
    return torch.full((num, *ENTRY), float(value), dtype=torch.bfloat16), torch.full(
        (num, 2), float(value)
    )


def remembered(memory, slot, frame_index):
    """Frames (entries hold their frame index) seen by an object: spatial and pointers, sorted."""
    view = memory.view(np.array([slot]), frame_index)
    if view is None:
        return [], []
    spatial, pointers = view.spatial[0, :, 0, 0], view.pointers[0, :, 0]
    if view.valid is not None:
        spatial, pointers = spatial[view.valid[0][0]], pointers[view.valid[1][0]]
    return sorted(spatial.int().tolist()), sorted(pointers.int().tolist())


def test_recent_entries_are_overwritten_oldest_first_and_the_prompt_stays(memory):
    memory.write_prompted(BOTH, 0, *entry(0, 2))
    for frame in range(1, 20):
        memory.write_recent(BOTH, frame, *entry(frame, 2))
    for slot in BOTH:
        assert remembered(memory, slot, 20) == ([0, 17, 18, 19], [0, 16, 17, 18, 19])


def test_the_first_and_the_newest_prompts_are_kept(memory):
    for frame in (0, 3, 5, 9):
        memory.write_prompted(BOTH[:1], frame, *entry(frame))
    assert remembered(memory, 0, 10) == ([0, 9], [0, 9])


def test_a_second_prompt_on_the_same_frame_replaces_the_first(memory):
    memory.write_prompted(BOTH[:1], 4, *entry(1))
    memory.write_prompted(BOTH[:1], 4, *entry(2))
    assert remembered(memory, 0, 5) == ([2], [2])


def test_only_the_past_is_seen(memory):
    memory.write_prompted(BOTH[:1], 2, *entry(2))
    memory.write_recent(BOTH[:1], 3, *entry(3))
    assert remembered(memory, 0, 3) == ([2], [2])
    assert memory.view(BOTH[:1], 2) is None


def test_unequal_memories_are_padded_and_masked(memory):
    memory.write_prompted(BOTH, 0, *entry(0, 2))
    memory.write_recent(BOTH[:1], 1, *entry(1))
    view = memory.view(BOTH, 2)
    assert view.spatial.shape == (2, 2, *ENTRY)
    assert view.valid[0].tolist() == [[True, True], [True, False]]


def test_ages_are_those_of_sam2(memory):
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame in (7, 8, 9):
        memory.write_recent(BOTH[:1], frame, *entry(frame))
    view = memory.view(BOTH[:1], 10)
    # A prompted entry has the last row of the table, recent ones their distance minus one.
    frames = view.spatial[0, :, 0, 0].int().tolist()
    rows = dict(zip(frames, view.spatial_age[0].tolist(), strict=True))
    assert rows == {0: 3, 7: 2, 8: 1, 9: 0}
    assert sorted(view.pointer_age[0].tolist()) == [1, 2, 3, 10]


def test_clearing_touches_only_the_given_objects(memory):
    memory.write_prompted(BOTH, 0, *entry(0, 2))
    memory.write_recent(BOTH, 1, *entry(1, 2))
    memory.clear_recent(BOTH[:1])
    assert remembered(memory, 0, 2) == ([0], [0])
    assert remembered(memory, 2, 2) == ([0, 1], [0, 1])
    memory.clear(BOTH[1:])
    assert remembered(memory, 0, 2) == ([0], [0])
    assert remembered(memory, 2, 2) == ([], [])
