"""`robust-vos bench-node` with a real node in a process of its own."""

import json

import pytest

pytest.importorskip('rclpy')
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.demo import node_bench

pytestmark = pytest.mark.ros


def test_the_node_is_measured(monkeypatch):
    for name in ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE'):  # restored afterwards
        monkeypatch.setenv(name, '')
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        monkeypatch.setenv(name, '')
    monkeypatch.setattr(node_bench, '_WARM_UP_S', 0.1)
    arguments = ['--size', '128x96', '--objects', '1', '--rate', '10', '--seconds', '2', '--json']
    arguments += ['-p', 'model.num_threads:=1', '-p', 'overload.max_level:=0']
    result = CliRunner().invoke(app, ['bench-node', *arguments])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found['results'] > 0
    assert found['start_s'] > 0
    assert found['latency_p95_ms'] >= found['latency_p50_ms'] > found['engine_p50_ms'] > 0
    assert found['overload'] == 'level 0: nothing left out'
    assert found['aged'] == 0
