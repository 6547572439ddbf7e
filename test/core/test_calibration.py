"""Calibration files and what they make of evidence."""

import json

import pytest

from robust_vos_ros.core.confidence.calibration import (
    FEATURES,
    Calibration,
    CalibrationFile,
    Evidence,
    read_calibration,
    to_features,
)
from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings

WEIGHTS = dict.fromkeys(FEATURES, 0.0) | {'one': -1.0, 'iou_logit': 1.0, 'object_score': 0.2}
LOOKS = {'center': [0.0] * 51, 'matrix': [[1.0, 0.0]] * 51}  # of nano: 16 + 32 + 3


def make(weights=WEIGHTS, curve=(), **changes):
    fit = {'weights': weights, 'curve': list(curve)}
    easier = {'weights': WEIGHTS | {'one': 1.0}}
    values = {
        'following': {'right': fit, 'there': easier},
        'searching': {'right': {'weights': WEIGHTS | {'one': -3.0}}, 'there': fit},
        'projection': LOOKS,
        'model': 'nano',
        'weights_sha256': 'ab' * 32,
        'data': 'clips',
        'date': '2026-01-31',
        'samples': 1000,
    }
    return CalibrationFile(**(values | changes))


def read(path):
    return read_calibration(path, model='nano', weights_sha256='ab' * 32, hidden_dim=128)


def test_better_evidence_means_more_confidence():
    calibration = Calibration(make())
    chances = [
        calibration.estimate(Evidence(iou=iou, object_score=score)).p_correct
        for iou, score in ((0.2, -4.0), (0.2, 4.0), (0.6, 4.0), (0.95, 8.0))
    ]
    assert chances == sorted(chances)
    assert len(set(chances)) == 4


def test_an_object_that_is_searched_for_is_judged_by_other_numbers():
    calibration = Calibration(make())
    following, searching = (
        calibration.estimate(Evidence(0.7, 3.0, searching=value)) for value in (False, True)
    )
    assert searching.p_correct < following.p_correct
    assert searching.p_on_object < following.p_on_object


def test_a_mask_that_is_right_is_there():
    harder = {'weights': WEIGHTS | {'one': -5.0}}
    fit = {'weights': WEIGHTS}
    calibration = Calibration(make(following={'right': fit, 'there': harder}))
    belief = calibration.estimate(Evidence(0.7, 3.0))
    assert belief.p_on_object == belief.p_correct


@pytest.mark.parametrize('iou', [0.0, 1.0])
@pytest.mark.parametrize('score', [-1e9, 1e9])
def test_extreme_evidence_gives_probabilities(iou, score):
    evidence = Evidence(iou, score, margin=1e9, area_change=1e9, memory_age_s=1e12)
    belief = Calibration(make()).estimate(evidence)
    assert 0.0 <= belief.p_correct <= belief.p_on_object <= 1.0


def test_the_curve_maps_the_logistic_probability():
    evidence = Evidence(0.7, 3.0)
    curved = Calibration(make(curve=[(0.0, 0.1), (1.0, 0.3)])).estimate(evidence).p_correct
    plain = Calibration(make()).estimate(evidence).p_correct
    assert curved == pytest.approx(0.1 + 0.2 * plain)


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (make(model='tiny').model_dump_json(), 'was made for tiny'),
        (make(weights_sha256='cd' * 32).model_dump_json(), 'was made for nano with weights cdcd'),
        (make().model_dump_json().replace('"lead":0.0', '"luck":0.0'), 'expected weights of one'),
        ('{"model": "nano"}', 'weights_sha256'),
        (make().model_dump_json().replace('-1.0', 'NaN'), 'is not a calibration'),
        (make().model_dump_json().replace('calibration 4', 'calibration 9'), 'calibration 4'),
        (
            make().model_dump_json().replace('"curve":[]', '"curve":[[0.2,0.9],[0.4,0.1]]'),
            'must rise',
        ),
        (make().model_dump_json().replace('"center":[0.0,', '"center":['), 'matrix of 50 rows'),
        (
            make(projection={'center': [0.0], 'matrix': [[1.0]]}).model_dump_json(),
            'expected a projection of 51 numbers, got 1',
        ),
        (make().model_dump_json().replace('"curve":[]', '"curve":[[0.2,1.9]]'), 'less than or'),
        ('{', 'is not a calibration'),
        (json.dumps([1, 2]), 'is not a calibration'),
    ],
)
def test_a_file_for_something_else_is_refused(tmp_path, text, says):
    path = tmp_path / 'c.json'
    path.write_text(text)
    with pytest.raises(WeightsError, match=says):
        read(path)


@pytest.mark.parametrize(
    ('older', 'since'),
    [
        (2, {'verified', 'growth', 'shrinkage', 'extent', 'misfit', 'classifier_fit'}),
        (3, {'classifier_fit'}),
    ],
)
def test_in_a_file_of_before_there_was_some_evidence_it_weighs_nothing(tmp_path, older, since):
    content = json.loads(make().model_dump_json()) | {'format': f'robust_vos calibration {older}'}
    for group in ('following', 'searching'):
        for what in ('right', 'there'):
            for name in since:
                del content[group][what]['weights'][name]
    path = tmp_path / 'c.json'
    path.write_text(json.dumps(content))
    old = read(path)
    assert old.file.format == 'robust_vos calibration 4'
    plain = Evidence(0.7, 3.0)
    values = {'verified': 0.1, 'growth': 2.0, 'extent': 1.0, 'misfit': 0.9, 'classifier_fit': 0.1}
    changed = Evidence(0.7, 3.0, **{name: x for name, x in values.items() if name in since})
    assert old.estimate(changed) == old.estimate(plain) == Calibration(make()).estimate(plain)
    del content['following']['right']['weights']['lead']  # that one is not new
    path.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match='expected weights of one'):
        read(path)


@pytest.mark.parametrize(
    ('name', 'evidence'),
    [
        ('verified', {'verified': 0.2}),
        ('growth', {'growth': 1.5}),
        ('shrinkage', {'growth': -1.5}),
        ('extent', {'extent': -1.0}),
        ('extent', {'extent': 1.0}),
        ('misfit', {'misfit': 0.5}),
        ('classifier_fit', {'classifier_fit': 0.1}),
    ],
)
def test_what_differs_from_the_prompt_is_evidence(name, evidence):
    plain, changed = (
        dict(zip(FEATURES, to_features(Evidence(0.7, 3.0, **values)), strict=True))
        for values in ({}, evidence)
    )
    assert {key for key in FEATURES if plain[key] != changed[key]} == {name}


def test_a_model_takes_the_file_it_is_given(tmp_path):
    plain = load_model(ModelSettings(device='cpu', calibration='none'))
    assert plain.calibration is None
    path = tmp_path / 'c.json'
    path.write_text(make(weights_sha256=plain.weights_hash).model_dump_json())
    model = load_model(ModelSettings(device='cpu', calibration=str(path)))
    assert model.calibration.file.date == '2026-01-31'
    with pytest.raises(WeightsError, match='does not exist'):
        load_model(ModelSettings(device='cpu', calibration=str(tmp_path / 'no.json')))
