"""How the node judges itself."""

import numpy as np
import pytest

pytest.importorskip('diagnostic_msgs')
from diagnostic_msgs.msg import DiagnosticStatus

from robust_vos_ros.node.settings import DebugSettings, NodeSettings
from robust_vos_ros.node.statistics import Counts, Snapshot, Statistics

pytestmark = pytest.mark.ros

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
ERROR, STALE = DiagnosticStatus.ERROR, DiagnosticStatus.STALE


def make(*, frame=0.1, error=None, invalid=None):
    return Snapshot(Counts(), np.zeros(0), frame, error, invalid, 'why')


@pytest.mark.parametrize(
    ('problem', 'snapshot', 'enabled', 'level', 'words'),
    [
        ('', make(), True, OK, 'tracking'),
        ('', None, True, OK, 'state, not processing'),  # inactive is no fault
        ('cannot configure: no weights', None, True, ERROR, 'no weights'),
        ('', make(frame=None), True, WARN, 'no image received since activation'),
        ('', make(frame=5.0), True, STALE, 'no image received for 5.0 s'),
        ('', make(invalid=1.0), True, WARN, 'image rejected: why'),
        ('', make(invalid=60.0), True, OK, 'tracking'),  # long ago
        ('', make(error=1.0), True, ERROR, 'failed: why'),
        ('', make(error=60.0), True, OK, 'tracking'),
        ('', make(error=1.0, frame=9.0), True, ERROR, 'failed: why'),  # the worst comes first
        ('', make(), False, OK, 'disabled'),
    ],
)
def test_judgement(problem, snapshot, enabled, level, words):
    from robust_vos_ros.node.diagnostics import judge

    health = judge('state', problem, snapshot, NodeSettings(enabled=enabled))
    assert health.level == level
    assert words in health.message


def test_spoilt_images_are_told():
    from robust_vos_ros.node.diagnostics import judge

    health = judge('state', '', make(), NodeSettings(debug=DebugSettings(corruption='fog')))
    assert health.level == WARN
    assert health.message == 'images are corrupted: fog'


def test_statistics_count_and_remember():
    statistics = Statistics()
    statistics.add_received(1)
    statistics.add(processed=2, time_jumps=1)
    statistics.add_invalid('bad step')
    statistics.add_error('no memory', failed=1)
    for latency_ms in range(1000):
        statistics.add_latency(latency_ms * 1_000_000)
    snapshot = statistics.snapshot()
    counts = snapshot.counts
    assert (counts.received, counts.processed, counts.invalid, counts.failed) == (1, 2, 1, 1)
    assert snapshot.error == 'no memory'
    assert len(snapshot.latencies_ms) == 512  # bounded
    assert snapshot.latencies_ms[-1] == 999.0
    with pytest.raises(AttributeError):
        statistics.add(nonsense=1)
