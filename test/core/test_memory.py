import numpy as np
import pytest
import torch

from robust_vos_ros.core.memory.bank import MemoryShape
from robust_vos_ros.core.memory.object_memory import Entries, ObjectMemory

ENTRY = (4, 2)
BOTH = np.array([0, 2])
ZERO = np.zeros(2, np.int64)


@pytest.fixture
def memory():
    shape = MemoryShape(
        capacity=3, num_hypotheses=2, num_prompted=2, num_anchors=2, num_recent=3, num_pointers=5,
        entry_shape=ENTRY, pointer_dim=2,
    )  # fmt: skip
    return ObjectMemory(shape, torch.device('cpu'))


def entry(value, num=1):
    return torch.full((num, *ENTRY), float(value), dtype=torch.bfloat16), torch.full(
        (num, 2), float(value)
    )


def write(memory, slots, frame, rank=0, score=1.0, value=None):
    values = entry(frame if value is None else value, len(slots))
    scores = np.full(len(slots), score)
    memory.write_recent(slots, np.full(len(slots), rank), frame, Entries(*values, scores))


def remembered(memory, slot, frame_index, rank=0):
    """Frames (entries hold their index) that a hypothesis sees: spatial and pointers, sorted."""
    view = memory.view(np.array([slot]), np.array([rank]), frame_index)
    if view is None:
        return [], []
    spatial, pointers = view.spatial[0, :, 0, 0], view.pointers[0, :, 0]
    if view.valid is not None:
        spatial, pointers = spatial[view.valid[0][0]], pointers[view.valid[1][0]]
    return sorted(spatial.int().tolist()), sorted(pointers.int().tolist())


def test_recent_entries_are_overwritten_oldest_first_and_the_prompt_stays(memory):
    memory.write_prompted(BOTH, 0, *entry(0, 2))
    for frame in range(1, 20):
        write(memory, BOTH, frame)
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
    write(memory, BOTH[:1], 3)
    assert remembered(memory, 0, 3) == ([2], [2])
    assert memory.view(BOTH[:1], ZERO[:1], 2) is None


def test_unequal_memories_are_padded_and_masked(memory):
    memory.write_prompted(BOTH, 0, *entry(0, 2))
    write(memory, BOTH[:1], 1)
    view = memory.view(BOTH, ZERO, 2)
    assert view.spatial.shape == (2, 2, *ENTRY)
    assert view.valid[0].tolist() == [[True, True], [True, False]]


def test_ages_are_those_of_sam2(memory):
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame in (7, 8, 9):
        write(memory, BOTH[:1], frame)
    view = memory.view(BOTH[:1], ZERO[:1], 10)
    # A prompted entry has the last row of the table, recent ones their distance minus one.
    frames = view.spatial[0, :, 0, 0].int().tolist()
    rows = dict(zip(frames, view.spatial_age[0].tolist(), strict=True))
    assert rows == {0: 3, 7: 2, 8: 1, 9: 0}
    assert sorted(view.pointer_age[0].tolist()) == [1, 2, 3, 10]


def test_clearing_touches_only_the_given_objects(memory):
    memory.write_prompted(BOTH, 0, *entry(0, 2))
    write(memory, BOTH, 1)
    memory.clear_recent(BOTH[:1])
    assert remembered(memory, 0, 2) == ([0], [0])
    assert remembered(memory, 2, 2) == ([0, 1], [0, 1])
    memory.clear(BOTH[1:])
    assert remembered(memory, 0, 2) == ([0], [0])
    assert remembered(memory, 2, 2) == ([], [])


def test_hypotheses_share_what_they_have_in_common_and_part_where_they_differ(memory):
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame in (1, 2, 3):
        write(memory, BOTH[:1], frame)
    memory.fork(0, [0, 0])
    write(memory, BOTH[:1], 4, rank=0)
    write(memory, BOTH[:1], 5, rank=1)
    assert remembered(memory, 0, 9, rank=0)[0] == [0, 2, 3, 4]
    assert remembered(memory, 0, 9, rank=1)[0] == [0, 2, 3, 5]
    # The better hypothesis is now the second: the first one's frame is forgotten by all.
    memory.fork(0, [1])
    assert remembered(memory, 0, 9, rank=0)[0] == [0, 2, 3, 5]
    assert remembered(memory, 0, 9, rank=1)[0] == [0]


def test_many_branches_never_run_out_of_room(memory):
    rng = np.random.default_rng(0)
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    lists = [[0], [0]]
    size = memory.num_bytes()
    for frame in range(1, 200):
        parents = rng.integers(0, 2, 2).tolist()
        memory.fork(0, parents)
        lists = [list(lists[parent]) for parent in parents]
        for rank in range(2):
            # What a hypothesis wrote is told apart by its value.
            value = frame + 500 * rank
            write(memory, BOTH[:1], frame, rank=rank, value=value % 256)
            lists[rank] = [0, *[*lists[rank][1:], value % 256][-3:]]
        for rank in range(2):
            assert remembered(memory, 0, frame + 1, rank)[0] == sorted(lists[rank])
    assert memory.num_bytes() == size


def test_anchors_outlive_recent_frames_and_are_replaced_by_age(memory):
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame in range(1, 30):
        write(memory, BOTH[:1], frame)
        if frame in (5, 10, 20):
            memory.write_anchors(BOTH[:1], frame, Entries(*entry(frame), np.ones(1)))
    # With two anchors there is room for one of the three recent frames.
    assert remembered(memory, 0, 30)[0] == [0, 10, 20, 29]
    # While an anchor is also among the recent frames it takes no place of its own.
    memory.write_anchors(BOTH[:1], 29, Entries(*entry(29), np.ones(1)))
    assert remembered(memory, 0, 30)[0] == [0, 20, 28, 29]
    memory.clear_recent(BOTH[:1])
    assert remembered(memory, 0, 30)[0] == [0]


@pytest.mark.parametrize(
    ('num_anchors', 'seen'),
    [
        (0, [16, 17, 18, 19]),
        (1, [1, 17, 18, 19]),
        (2, [1, 2, 18, 19]),
        (3, [1, 2, 3, 18, 19]),
        (4, [1, 2, 3, 4, 18, 19]),
    ],
)
def test_anchors_take_places_of_at_most_half_of_the_recent_frames(num_anchors, seen):
    shape = MemoryShape(
        capacity=1, num_hypotheses=1, num_prompted=1, num_anchors=4, num_recent=4, num_pointers=5,
        entry_shape=ENTRY, pointer_dim=2,
    )  # fmt: skip
    memory = ObjectMemory(shape, torch.device('cpu'))
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame in range(1, 20):
        write(memory, BOTH[:1], frame)
        if frame <= num_anchors:
            memory.write_anchors(BOTH[:1], frame, Entries(*entry(frame), np.ones(1)))
    assert remembered(memory, 0, 20)[0] == [0, *seen]


@pytest.mark.parametrize(
    ('anchors', 'seen', 'why'),
    [
        ((18, 19), [16, 17, 18, 19], 'both are among the recent frames'),
        ((2, 19), [2, 17, 18, 19], 'one takes a place of its own'),
        ((2, 16), [2, 16, 18, 19], 'as it makes room for the other, the older one needs one'),
        ((2, 3), [2, 3, 18, 19], 'both take places'),
    ],
)
def test_an_anchor_that_is_recent_takes_no_place_of_its_own(anchors, seen, why):
    shape = MemoryShape(
        capacity=1, num_hypotheses=1, num_prompted=1, num_anchors=2, num_recent=4, num_pointers=5,
        entry_shape=ENTRY, pointer_dim=2,
    )  # fmt: skip
    memory = ObjectMemory(shape, torch.device('cpu'))
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame in range(1, 20):
        write(memory, BOTH[:1], frame)
        if frame in anchors:
            memory.write_anchors(BOTH[:1], frame, Entries(*entry(frame), np.ones(1)))
    assert remembered(memory, 0, 20)[0] == [0, *seen], why


def test_keys_are_weighted_in_the_order_of_object_scores(memory):
    memory.write_prompted(BOTH[:1], 0, *entry(0))
    for frame, score in ((1, 3.0), (2, 1.0), (3, 2.0)):
        write(memory, BOTH[:1], frame, score=score)
    view = memory.view(BOTH[:1], ZERO[:1], 4, modulation=0.05)
    frames = view.spatial[0, :, 0, 0].int().tolist()
    weights = dict(zip(frames, view.weights[0][0].tolist(), strict=True))
    wanted = {2: 0.95, 3: 0.95 + 0.1 / 3, 1: 1.05 - 0.1 / 3, 0: 1.05}
    assert weights == pytest.approx(wanted)
    assert memory.view(BOTH[:1], ZERO[:1], 4).weights is None
