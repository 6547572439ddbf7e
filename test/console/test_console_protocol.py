"""What a browser may say: a table, and thousands of messages that nobody would send."""

import json
import random

import pytest

from robust_vos_ros.console import protocol
from robust_vos_ros.console.protocol import ProtocolError, parse

STAMP = [12, 500]
ADD = {
    'type': 'add', 'id': 3, 'stamp': STAMP, 'object_id': 'cup', 'class_id': 'mug',
    'points': [[1.5, 2, 1], [3, 4, 0]], 'box': [0, 0, 9.5, 8],
}  # fmt: skip
GOOD = [
    {'type': 'hello', 'protocol': 1},
    {'type': 'hello', 'protocol': 1, 'token': 'x' * 32, 'node': '/front/robust_vos'},
    {'type': 'watch', 'id': 0, 'node': 'robust_vos'},
    {'type': 'seen'},
    {'type': 'freeze', 'stamp': STAMP},
    {'type': 'preview', 'id': 1, 'stamp': STAMP, 'points': [[1, 2, 1]], 'box': None},
    ADD,
    {**ADD, 'type': 'refine', 'class_id': ''},
    {'type': 'refine', 'id': 3, 'stamp': STAMP, 'object_id': 'cup', 'class_id': 'mug'},
    {'type': 'find', 'id': 5, 'text': 'the red mug'},
    {'type': 'find', 'id': 5, 'text': 'mug', 'max_objects': 3, 'mode': 'stop', 'stamp': STAMP},
    {'type': 'remove', 'id': 2**31 - 1, 'object_ids': ['cup', 'Tasse ä']},
    {'type': 'reset', 'id': 4},
]


@pytest.mark.parametrize('message', GOOD, ids=lambda message: message['type'])
def test_what_the_page_says_is_understood(message):
    command = parse(json.dumps(message))
    assert command.type == message['type']
    for name, value in message.items():
        found = getattr(command, name)
        assert json.loads(json.dumps(found)) == value, name


def without(*names, **changes):
    return {key: value for key, value in (ADD | changes).items() if key not in names}


def find(**changes):
    return {'type': 'find', 'id': 5, 'text': 'the red mug'} | changes


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        ('', 'Invalid JSON'),  # nothing
        ('{', 'Invalid JSON'),  # cut off
        ('[' * 5000, 'message'),  # nested as deep as can be
        ('[]', 'message'),  # no object
        ('null', 'message'),
        ({}, 'type'),  # which one?
        ({'type': 'open', 'path': '/etc/passwd'}, 'type'),  # no such message
        ({'type': 'seen', 'path': '/etc/passwd'}, 'path'),  # no such field
        (without('stamp'), 'stamp'),  # on which image?
        (without('object_id'), 'object_id'),
        (without('points', 'box'), 'expected points or a box'),  # points at nothing
        (without(object_id=''), 'object_id'),
        (without(object_id='a\x00b'), 'object_id'),  # NUL ends a string of ROS
        (without(object_id='x' * 257), 'object_id'),
        (without(object_id=5), 'object_id'),
        (without(id=-1), 'id'),
        (without(id='3'), 'id'),
        (without(id=True), 'id'),
        (without(stamp=[1]), 'stamp'),
        (without(stamp=[1, 10**9]), 'stamp'),
        (without(stamp=[2**40, 0]), 'stamp'),
        (without(points=[[1, 2, 1]] * 65), 'points'),  # too many
        (without(points=[[1, 2]]), 'points'),
        (without(points=[[1, 2, 2]]), 'points'),  # no such label
        (without(points=[[1e9, 2, 1]]), 'points'),
        (without(points='[[1, 2, 1]]'), 'points'),
        (without(box=[1, 2, 3]), 'box'),
        (json.dumps(ADD).replace('9.5', 'NaN'), 'box'),
        (json.dumps(ADD).replace('9.5', 'Infinity'), 'box'),
        (json.dumps(ADD).replace('9.5', '1e999'), 'box'),
        (json.dumps(ADD).replace('cup', '\\ud800'), 'JSON'),  # half a character
        ('{"type": "seen", "x": "\ud800"}', 'unicode'),
        (
            {**without('points', 'box'), 'type': 'refine', 'class_id': ''},
            'expected points or a box',
        ),
        (find(text=''), 'text'),
        (find(text='x' * 257), 'text'),
        (find(text='a\x00b'), 'text'),
        (find(max_objects=0), 'max_objects'),  # 0 means 1 in ROS; a page says what it means
        (find(max_objects=65), 'max_objects'),
        (find(max_objects=1.5), 'max_objects'),
        (find(max_objects=None), 'max_objects'),  # an empty field of a page
        (find(mode='forever'), 'mode'),
        (find(mode=''), 'mode'),
        (find(min_confidence=0.5), 'min_confidence'),  # as the node is set
        ({'type': 'remove', 'id': 1, 'object_ids': []}, 'object_ids'),  # all goes by reset
        (' ' * (protocol.MAX_MESSAGE_BYTES + 1), 'at most 16384'),
    ],
)
def test_what_is_no_message_is_refused(message, words):
    text = message if isinstance(message, str) else json.dumps(message)
    with pytest.raises(ProtocolError, match=words) as caught:
        parse(text)
    is_add = isinstance(message, dict) and message.get('id') == 3
    assert caught.value.message_id == (3 if is_add else caught.value.message_id)


def test_a_refusal_does_not_quote_a_token():
    token = 'secret-secret-secret'
    for changes in ({'protocol': 'x'}, {'other': 1}, {'token': token * 20}, {'token': [token]}):
        with pytest.raises(ProtocolError) as caught:
            parse(json.dumps({'type': 'hello', 'protocol': 1, 'token': token} | changes))
        assert 'secret' not in str(caught.value)


VALUES = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 2**70, 0.5, 1e300, float('nan'), float('inf'),
    '', 'cup', '/robust_vos', 'x' * 300, '\x00', '\u202e', '../../etc/passwd', [], {}, [[]],
    [1, 2, 1], [[1, 2, 1]], STAMP, [0] * 100, {'type': 'add'},
]  # fmt: skip


def mutate(rng, message):
    """Change a message in one of the ways that a program, or somebody, may get it wrong."""
    message = dict(message)
    kind = rng.randrange(8)
    if kind == 0 and message:
        del message[rng.choice(list(message))]
    elif kind == 1:
        message[
            rng.choice([*ADD, 'type', 'token', 'node', 'object_ids', 'text', 'max_objects'])
        ] = rng.choice(VALUES)
    elif kind == 2:
        message['type'] = rng.choice([m['type'] for m in GOOD])
    text = json.dumps(message)
    if kind == 3:
        at = rng.randrange(len(text))
        text = (
            text[:at] + chr(rng.choice([0, 34, 44, 91, 93, 123, 125, 0xD800, 0x1F600])) + text[at:]
        )
    elif kind == 4:
        text = text[: rng.randrange(len(text))]
    elif kind == 5:
        text = ''.join(rng.choice('{}[]":,0123456789.eE-truefalsnul \\') for _ in range(40))
    return text


def test_thousands_of_spoilt_messages():
    """Each is understood within its bounds, or refused with a sentence."""
    rng = random.Random(5)
    num_understood, refusals = 0, []
    for _ in range(4000):
        message = rng.choice(GOOD)
        try:
            command = parse(mutate(rng, message))
        except ProtocolError as error:
            refusals.append(error)
            continue
        num_understood += 1
        assert 1 <= getattr(command, 'max_objects', 1) <= protocol.MAX_FOUND
        for name in ('object_id', 'class_id', 'node', 'text'):
            assert len(getattr(command, name, '')) <= 256
        for x, y, label in getattr(command, 'points', ()):
            assert abs(x) <= 1e6 >= abs(y)
            assert label in {0, 1}
    assert min(num_understood, len(refusals)) > 400
    for error in refusals:
        assert str(error)
        assert error.message_id is None or 0 <= error.message_id < 2**31


def test_answers():
    assert protocol.make_answer(3, {'message': 'added'}) == {
        'type': 'answer', 'id': 3, 'ok': True, 'message': 'added',
    }  # fmt: skip
    assert not protocol.make_refusal(None, 'BUSY', 'wait')['ok']
