import numpy as np
import pytest

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.eval.protocols import scored_objects
from robust_vos_ros.eval.records import CLEAN, Condition, ObjectRecord, SequenceRecord
from robust_vos_ros.eval.summary import differences, summarize


def condition(name=CLEAN, severity=0.0):
    return Condition(corruption=name, severity=severity, profile='constant', seed=0)


def scores(j, *, frames=None, present=None, masked=None, confidence=None, object_id=1):
    num = len(j)
    return ObjectRecord(
        object_id=object_id,
        frames=list(range(num)) if frames is None else frames,
        j=j,
        f=[value / 2 for value in j],
        visible=[1.0] * num if present is None else [float(value) for value in present],
        in_view=[],
        masked=[True] * num if masked is None else masked,
        precision=[1.0] * num,
        confidence=[0.9] * num if confidence is None else confidence,
        state=[int(ObjectState.TRACKED)] * num,
        jitter=0.2,
        true_jitter=0.1,
    )


def record(objects, *, sequence='bear', where=None, variant='base', num_frames=5):
    where = where or condition()
    weather = where.corruption if where.is_corrupted else ''
    return SequenceRecord(
        variant=variant,
        sequence=sequence,
        condition=where,
        rate_hz=24,
        seconds=0.5,
        weather=[weather] * num_frames,
        objects=objects,
        strip='',
    )


@pytest.mark.parametrize(
    ('protocol', 'j', 'why'),
    [
        ('davis', (0.4 + 0.0 + 0.8) / 3, 'without the first and the last frame'),
        ('davis-all', (1.0 + 0.4 + 0.0 + 0.8 + 0.6) / 5, 'all frames'),
        ('robustpvos', (1.0 + 0.4 + 0.8 + 0.6) / 4, 'the frame without the object is skipped'),
    ],
)
def test_protocols_choose_frames(protocol, j, why):
    item = scores([1.0, 0.4, 0.0, 0.8, 0.6], present=[True, True, False, True, True])
    (scored,) = scored_objects(record([item]), protocol)
    assert scored.mean.j == pytest.approx(j), why
    assert scored.mean.f == pytest.approx(j / 2), why


def test_a_late_object_is_scored_after_its_prompt():
    late = scores([1.0, 0.5, 0.3], frames=[2, 3, 4])
    (scored,) = scored_objects(record([late]), 'davis')
    assert scored.frames.tolist() == [3]
    only_prompt = scores([1.0], frames=[4])
    assert scored_objects(record([only_prompt]), 'davis') == []


@pytest.mark.parametrize(
    ('protocol', 'j', 'why'),
    [
        ('davis', (3 * 0.2 + 0.8) / 4, 'every object counts alike'),
        ('clips', (0.2 + 0.8) / 2, 'every sequence counts alike'),
    ],
)
def test_the_mean_is_over_objects_or_over_sequences(protocol, j, why):
    group = [
        record([scores([1.0, 0.2, 0.2, 1.0], object_id=i) for i in (1, 2, 3)], num_frames=4),
        record([scores([1.0, 0.8, 0.8, 1.0])], sequence='dog', num_frames=4),
    ]
    result = summarize(group, protocol)
    assert result['J']['value'] == pytest.approx(100 * j), why
    low, high = result['J']['interval']
    assert low == pytest.approx(20), why
    assert high == pytest.approx(80), why
    assert {name: row['J'] for name, row in result['per_sequence'].items()} == {
        'bear': pytest.approx(20),
        'dog': pytest.approx(80),
    }


def test_fifths_leave_out_the_first_and_the_last_frame():
    j = [0.0] + [0.9] * 10 + [0.0] * 20 + [1.0] * 10 + [0.9] * 10 + [0.0]
    absent = range(21, 41)
    present = [frame not in absent for frame in range(52)]
    result = summarize([record([scores(j, present=present)], num_frames=52)], 'davis')
    fifths = [result[f'J&F fifth {number}']['value'] for number in range(1, 6)]
    # J&F is 3/4 of J here.
    assert fifths == pytest.approx([67.5, 0.0, 0.0, 75.0, 67.5])
    assert result['fall']['value'] == pytest.approx(0.0)
    assert result['J&F in view']['value'] == pytest.approx((67.5 + 0.0 + 67.5) / 3)


def flat(value, **options):
    return record([scores([1.0, value, value, value, 1.0])], **options)


def test_robustness_of_all_corruptions():
    records = [
        flat(0.8),
        flat(0.6, where=condition('fog', 1.0)),
        flat(0.4, where=condition('fog', 5.0)),
        flat(0.2, where=condition('noise_10', 1.0)),
    ]
    result = summarize(records, 'davis')
    # J&F is 3/4 of J here.
    assert result['J']['value'] == pytest.approx(80.0)
    assert result['J&F']['value'] == pytest.approx(60.0)
    assert result['per_sequence']['bear']['F'] == pytest.approx(40.0)
    fog = result['per_corruption']['fog']
    assert fog['J&F'] == pytest.approx(37.5)
    assert fog['severities']['5']['J'] == pytest.approx(40.0)
    assert result['Q_p']['value'] == pytest.approx((45 + 30 + 15) / 3)
    assert result['R_p']['value'] == pytest.approx(60 - 30)
    assert result['mPC']['value'] == pytest.approx((37.5 + 15) / 2)
    assert result['rPC']['value'] == pytest.approx(100 * 26.25 / 60)
    assert result['ms per frame']['value'] == pytest.approx(100.0)
    assert result['curves']['clean'][-1] == pytest.approx(None)
    assert result['curves']['clean'][2] == pytest.approx(60.0)
    assert result['curves']['corrupted'][2] == pytest.approx(30.0)


def test_clean_alone_has_no_robustness():
    result = summarize([flat(0.8)], 'davis')
    assert [result[name]['value'] for name in ('Q_p', 'R_p', 'mPC', 'rPC')] == [None] * 4
    assert result['ECE corrupted']['value'] is None


def test_confidence_is_judged_without_the_prompt():
    item = scores(
        [1.0, 0.9, 0.4, 1.0, 0.0],
        confidence=[0.0, 0.9, 0.9, 0.1, 0.1],
        present=[True, True, True, False, False],
        masked=[True, True, True, False, True],
    )
    result = summarize([record([item])], 'davis')
    # Right: only frame 1. Bins of 0.9 (one of two right) and 0.1 (none of two).
    assert result['ECE']['value'] == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert result['Brier score']['value'] == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert result['absent masked']['value'] == pytest.approx(0.5)
    assert sum(row['count'] for row in result['reliability']['clean']) == 4
    assert result['jitter']['value'] == pytest.approx(0.2)


def test_what_cannot_be_scored_is_none():
    """A shard whose only object appears in the last frame still is a part of the whole."""
    lone = record([scores([1.0], frames=[4])])
    assert summarize([lone], 'davis')['J&F']['value'] is None
    spoilt = record([scores([1.0], frames=[4])], where=condition('fog', 3.0))
    result = summarize([flat(0.8), spoilt], 'davis')
    assert result['J']['value'] == pytest.approx(80.0)
    assert result['mPC']['value'] is None


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.3, 0.9, 8)
    base, other = [], []
    for number, level in enumerate(levels):
        for where in (condition(), condition('fog', 3.0)):
            gain = 0.04 if where.corruption == 'fog' else 0.0
            name = f'clip{number}'
            base.append(flat(level, sequence=name, where=where))
            other.append(flat(level + gain, sequence=name, where=where, variant='other'))
    result = differences(base, other, 'davis')
    assert list(result) == ['clean', 'fog', 'corrupted']
    # 4 points of J are 3 of J&F; equal gains leave no doubt, however unequal the sequences.
    assert result['fog'] == {
        'value': pytest.approx(3.0),
        'interval': [pytest.approx(3.0), pytest.approx(3.0)],
        'cases': 8,
    }
    assert result['clean']['value'] == 0.0
    assert result['corrupted']['value'] == pytest.approx(3.0)


def test_absences_of_footage_are_judged_but_not_by_their_kind():
    present = [True] * 5 + [False] * 14 + [True] * 40
    masked = [True] * 5 + [False] * 14 + [False] * 2 + [True] * 38
    j = [0.9 if mask else float(not shown) for shown, mask in zip(present, masked, strict=True)]
    item = scores(j, present=present, masked=masked)
    result = summarize([record([item], num_frames=len(j))], 'davis')
    assert result['kept'] == {'value': 1.0, 'interval': [1.0, 1.0], 'cases': 1}
    assert result['false']['value'] == 0.0
    assert result['back s']['value'] == pytest.approx(2 / 24)
    assert result['kept hidden']['cases'] == result['kept exit']['cases'] == 0
