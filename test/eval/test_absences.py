"""How absences are judged, on tables made by hand."""

import numpy as np
import pytest

from robust_vos_ros.core.types import ObjectState as State
from robust_vos_ros.eval import absences

RATE = 10  # frames per second: windows are short


def table(text, **changes):
    """Make a table, a letter per frame.

    T tracked, right; X a mask on something else while the object is in view; M missed; S a sliver
    of it is visible and it is missed; o absent, no mask and OCCLUDED; u the same but UNCERTAIN;
    m absent and a mask is published.
    """
    letters = np.array(list(text))
    absent, masked = np.isin(letters, list('oum')), np.isin(letters, list('TXm'))
    right = letters == 'T'
    agree = np.where(right, 0.9, (absent & ~masked).astype(float))
    state = np.where(letters == 'o', State.OCCLUDED, State.TRACKED)
    state = np.where(letters == 'u', State.UNCERTAIN, state)
    values = {
        'frames': np.arange(len(text)),
        'j': agree,
        'f': agree,
        'visible': np.where(absent, 0.0, np.where(letters == 'S', 0.1, 1.0)),
        'in_view': np.ones(len(text), bool),
        'masked': masked,
        'precision': np.where(right, 0.95, 0.0),
        'confidence': np.where(masked, 0.9, 0.0),
        'state': state.astype(int),
        'corrupted': np.zeros(len(text), bool),
    }
    return absences.Rows(**{**values, **changes})


# Frames, delay in s, false, kept, seconds until it is back, why.
CASES = [
    ('TTT' + 'o' * 10 + 'T' * 15, 0.0, False, True, 0.0, 'all is well'),
    ('TTT' + 'u' * 3 + 'o' * 7 + 'T' * 15, 0.3, False, True, 0.0, 'known late'),
    ('TTT' + 'u' * 10 + 'T' * 15, np.inf, False, True, 0.0, 'never known'),
    ('TTT' + 'mm' + 'o' * 8 + 'T' * 15, 0.2, False, True, 0.0, 'a mask may linger for 0.2 s'),
    ('TTT' + 'mmm' + 'o' * 7 + 'T' * 15, 0.3, True, True, 0.0, 'but not longer'),
    ('TTT' + 'o' * 4 + 'mmm' + 'o' * 3 + 'T' * 15, 0.0, True, True, 0.0, 'found where it is not'),
    ('TTT' + 'oommoommoo' + 'T' * 15, 0.0, False, True, 0.0, 'twice, but briefly'),
    ('TTT' + 'o' * 10 + 'M' * 5 + 'T' * 10, 0.0, False, True, 0.5, 'found after half a second'),
    ('TTT' + 'o' * 10 + 'M' * 15, 0.0, False, False, None, 'not found'),
    ('TTT' + 'o' * 10 + 'XX' + 'T' * 13, 0.0, False, True, 0.2, 'a short error'),
    ('TTT' + 'o' * 10 + 'XXX' + 'T' * 12, 0.0, True, True, 0.3, 'first another one, then it'),
    ('TTT' + 'o' * 10 + 'X' * 15, 0.0, True, False, None, 'another one'),
    ('TTT' + 'o' * 10 + 'TTT' + 'X' * 12, 0.0, True, False, 0.0, 'it, then another one'),
    ('TTT' + 'o' * 10 + 'SSSS' + 'T' * 15, 0.0, False, True, 0.0, 'slivers do not count'),
    ('TTT' + 'o' * 10 + 'T' * 14, 0.0, False, None, None, 'the clip ends in the window'),
    ('TTT' + 'o' * 10, 0.0, False, None, None, 'it does not come back'),
    ('TTT' + 'o' * 10 + 'TTT' + 'S' * 12, 0.0, False, None, None, 'it goes again'),
]


@pytest.mark.parametrize(('text', 'delay', 'false', 'kept', 'back', 'why'), CASES)
def test_verdicts(text, delay, false, kept, back, why):
    [verdict] = absences.score_absences(table(text), RATE)
    assert (verdict.start, verdict.exit) == (3, False), why
    assert verdict.delay_s == pytest.approx(delay), why
    assert (verdict.false, verdict.kept) == (false, kept), why
    assert verdict.back_s == pytest.approx(back), why


def test_short_absences_and_the_time_before_the_first_appearance_are_not_judged():
    assert absences.score_absences(table('TTTooooTTT'), RATE) == []
    assert absences.score_absences(table('oooooooTTT'), RATE) == []
    assert len(absences.score_absences(table('TTToooooTTTooooooTTT'), RATE)) == 2


def test_out_of_view_is_told_from_hidden():
    text = 'TTT' + 'o' * 10 + 'T' * 15
    in_view = np.array([letter != 'o' for letter in text])
    [verdict] = absences.score_absences(table(text, in_view=in_view), RATE)
    assert verdict.exit


def test_nobody_knows_why_an_object_of_footage_is_absent():
    [verdict] = absences.score_absences(table('TTT' + 'o' * 10 + 'T' * 15, in_view=None), RATE)
    assert verdict.exit is None
    assert verdict.kept


def test_absences_are_not_judged_where_labels_have_gaps():
    text = 'TTT' + 'o' * 10 + 'T' * 15
    assert absences.score_absences(table(text, frames=5 * np.arange(len(text))), RATE) == []


@pytest.mark.parametrize(
    ('flags', 'stretches', 'most'),
    [('', [], 0), ('0', [], 0), ('1', [(0, 1)], 1), ('0110111', [(1, 3), (4, 7)], 3)],
)
def test_stretches(flags, stretches, most):
    array = np.array([flag == '1' for flag in flags], bool)
    assert absences.runs(array) == stretches
    assert absences.longest(array) == most


@pytest.mark.parametrize(
    ('confidence', 'j', 'letter', 'wrong', 'why'),
    [
        (0.9, 0.1, 'T', True, 'sure of a wrong mask'),
        (0.9, 0.4, 'T', False, 'not quite wrong'),
        (0.7, 0.1, 'T', False, 'not sure'),
        (0.9, 0.0, 'm', True, 'sure of an absent object'),
        (0.9, 0.0, 'M', False, 'no mask'),
    ],
)
def test_a_mask_is_confidently_wrong_where_a_planner_would_rely_on_it(
    confidence, j, letter, wrong, why
):
    rows = table(letter, confidence=np.array([confidence]), j=np.array([j]))
    assert rows.confidently_wrong.tolist() == [wrong], why
