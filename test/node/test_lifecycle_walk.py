"""A random walk through the life cycle, compared with a model of it after every step."""

import os
import random

import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from robust_vos.msg import ErrorCode
from robust_vos.srv import ListObjects

from robust_vos_ros.core.errors import RobustVosError, WeightsError
from robust_vos_ros.node import parts

pytestmark = pytest.mark.ros
NUM_STEPS = int(os.environ.get('ROBUST_VOS_WALK', '100'))
# The model: state -> transition -> next state. Everything else is refused.
MODEL = {
    'unconfigured': {'CONFIGURE': 'inactive'},
    'inactive': {'ACTIVATE': 'active', 'CLEANUP': 'unconfigured'},
    'active': {'DEACTIVATE': 'inactive'},
}
TRANSITIONS = ['CONFIGURE', 'ACTIVATE', 'DEACTIVATE', 'CLEANUP']


def test_a_random_walk(make_bench, helpers, monkeypatch):
    """Some steps also fail on purpose: the weights are missing, or a subscription fails."""
    monkeypatch.setenv('ROBUST_VOS_DEBUG', '1')
    bench = make_bench({'autostart': False}, start=False)
    rng, state, model = random.Random(11), 'unconfigured', None
    load, activate = parts.load_model, parts.activate
    fail, visited = False, set()

    def load_once(settings):
        nonlocal model
        if fail:
            raise WeightsError('the weights are not here')
        model = model or load(settings)  # the life cycle is walked, not the file
        return model

    def activate_or_fail(*arguments):
        if fail:
            raise RobustVosError('no image topic')
        return activate(*arguments)

    monkeypatch.setattr(parts, 'load_model', load_once)
    monkeypatch.setattr(parts, 'activate', activate_or_fail)
    for _ in range(NUM_STEPS):
        name, fail = rng.choice(TRANSITIONS), rng.random() < 0.2
        target = MODEL[state].get(name)
        may_fail = fail and name in {'CONFIGURE', 'ACTIVATE'}
        expected = state if target is None or may_fail else target
        transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
        answer = bench.call(ChangeState, '/robust_vos/change_state', transition=transition)
        assert answer.success == (target is not None and not may_fail), (state, name, fail)
        visited.add((state, name, answer.success))
        state = bench.call(GetState, '/robust_vos/get_state').current_state.label
        assert state == expected
        listed = bench.call(ListObjects, '/robust_vos/list_objects')
        assert (listed.error_code == ErrorCode.OK) == (state == 'active'), listed.message
        if name == 'ACTIVATE' and state == 'active' and rng.random() < 0.3:
            bench.objects or bench.connect()
            bench.wait_for_input()
            assert bench.show() is not None
    assert len(visited) >= 14  # of 12 pairs, two of which also fail
    assert bench.failures == []
