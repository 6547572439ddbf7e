"""The heartbeat for nav2's lifecycle manager."""

import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from robust_vos_ros.node import bond

pytestmark = pytest.mark.ros


def change(bench, transition):
    answer = bench.call(
        ChangeState, '/robust_vos/change_state', transition=Transition(id=transition)
    )
    return answer.success


def test_without_the_package_the_node_says_what_to_do(make_bench, monkeypatch):
    monkeypatch.setattr(bond, 'Status', None)
    bench = make_bench({'bond': True}, start=False)
    assert not change(bench, Transition.TRANSITION_CONFIGURE)
    assert 'the package bond cannot be imported; install it' in bench.robust_vos._problem


def test_the_heartbeat_lasts_from_activation_to_deactivation(make_bench):
    messages = pytest.importorskip('bond.msg', reason='bond comes with nav2')
    bench = make_bench({'bond': True})
    heartbeats = bench.listen(messages.Status, '/bond')
    bench.wait(lambda: len(heartbeats) > 3, 'heartbeats')
    assert {item.id for item in heartbeats} == {'robust_vos'}
    assert all(item.active for item in heartbeats)
    assert change(bench, Transition.TRANSITION_DEACTIVATE)
    bench.wait(lambda: not heartbeats[-1].active, 'the end of the bond')
    (first,) = {item.instance_id for item in heartbeats}
    assert change(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait(lambda: heartbeats[-1].active, 'heartbeats of the next activation')
    assert heartbeats[-1].instance_id != first  # another bond


def test_a_peer_of_bondpy_forms_and_sees_the_end(make_bench):
    bondpy = pytest.importorskip('bondpy.bondpy', reason='bondpy comes with bond_core')
    bench = make_bench({'bond': True})
    peer = bondpy.Bond(bench.node, 'bond', 'robust_vos')
    peer.start()
    assert bench.wait(lambda: not peer.is_broken() and peer.sister_instance_id, 'the bond')
    assert change(bench, Transition.TRANSITION_DEACTIVATE)
    assert bench.wait(peer.is_broken, 'the end of the bond')
    peer.shutdown()
