"""The node's status on /diagnostics: level, sentence and values with units."""

from __future__ import annotations

import collections
import dataclasses
import math
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.node.camera_info import CameraInfos
from robust_vos_ros.node.class_ids import ClassIds
from robust_vos_ros.node.overload import Overload, OverloadReport
from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.node.statistics import Counts, Snapshot
from robust_vos_ros.ros_types.identity import package_version


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """Level of a DiagnosticStatus, and its message."""

    level: bytes
    message: str


def judge(
    lifecycle_state: str,
    problem: str,
    snapshot: Snapshot | None,
    settings: NodeSettings,
    overload: OverloadReport | None = None,
) -> Health:
    """Return level and message of the node.

    Args:
        lifecycle_state: `unconfigured`, `inactive`, `active`, ...
        problem: Why the last transition failed; empty if it did not.
        snapshot: Statistics of the activation; None if not active.
        settings: Limits.
        overload: Of the activation; None if not active.
    """
    if problem:
        return Health(DiagnosticStatus.ERROR, problem)
    if snapshot is None:
        return Health(DiagnosticStatus.OK, f'{lifecycle_state}, not processing')
    limits, since_frame_s = settings.diagnostics, snapshot.since_frame_s
    findings = (  # the first true one counts
        (
            _recent(snapshot.since_error_s, limits.error_hold_s),
            Health(DiagnosticStatus.ERROR, f'failed: {snapshot.error}'),
        ),
        (
            since_frame_s is None,
            Health(DiagnosticStatus.WARN, 'no image received since activation'),
        ),
        (
            not _recent(since_frame_s, limits.stale_after_s),
            Health(DiagnosticStatus.STALE, f'no image received for {since_frame_s or 0:.1f} s'),
        ),
        (
            _recent(snapshot.since_invalid_s, limits.error_hold_s),
            Health(DiagnosticStatus.WARN, f'image rejected: {snapshot.error}'),
        ),
        (
            settings.debug.corruption != 'none',
            Health(DiagnosticStatus.WARN, f'images are corrupted: {settings.debug.corruption}'),
        ),
        (
            overload is not None and overload.level > 0,
            Health(DiagnosticStatus.WARN, '' if overload is None else overload.text),
        ),
        (
            not settings.enabled,
            Health(DiagnosticStatus.OK, 'disabled, tracks are kept'),
        ),
        (True, Health(DiagnosticStatus.OK, 'tracking')),
    )
    return next(health for found, health in findings if found)


def _recent(since_s: float | None, limit_s: float) -> bool:
    return since_s is not None and since_s <= limit_s


class Reporter:
    """Makes the diagnostic status; keeps the previous counters to compute rates."""

    def __init__(self) -> None:
        """Create it without previous counters."""
        self._last: tuple[float, Counts] | None = None

    def report(
        self,
        name: str,
        *,
        lifecycle_state: str,
        problem: str,
        model: Model | None,
        pipeline: Pipeline | None,
        settings: NodeSettings,
        overload: Overload | None,
    ) -> DiagnosticStatus:
        """Return the present status of the node.

        Args:
            name: Of the node.
            lifecycle_state: `unconfigured`, `inactive`, `active`, ...
            problem: Why the last transition failed; empty if it did not.
            model: The loaded model; None if unconfigured.
            pipeline: None if unconfigured.
            settings: Of the node.
            overload: Of the worker; None before the first activation.
        """
        active = pipeline is not None and pipeline.lane is not None
        snapshot = pipeline.statistics.snapshot() if pipeline is not None and active else None
        shed = overload.report() if overload is not None and active else None
        health = judge(lifecycle_state, problem, snapshot, settings, shed)
        values: dict[str, Any] = {'lifecycle state': lifecycle_state}
        if model is not None:
            values |= {
                'model': model.name,
                'device': model.device,
                'precision': model.precision,
                'weights hash': model.weights_hash,
                'adapter': model.adapter_name,
                'version': package_version(),
            }
        if snapshot is not None and pipeline is not None:
            values |= self._rates(snapshot.counts)
            values |= _measures(snapshot, pipeline)
        if shed is not None:
            values |= {
                'load': '' if math.isnan(shed.load) else f'{shed.load:.2f}',
                'overload': shed.text,
            }
        return DiagnosticStatus(
            level=health.level,
            name=f'{name}: tracker',
            message=health.message,
            hardware_id='' if model is None else str(model.device),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _rates(self, counts: Counts) -> dict[str, str]:
        now = time.monotonic()
        before, self._last = self._last, (now, counts)
        if before is None or before[1].received > counts.received:  # a new activation
            return {'input rate (Hz)': '', 'processed rate (Hz)': ''}
        span_s = max(now - before[0], 1e-3)
        received = (counts.received - before[1].received) / span_s
        processed = (counts.processed - before[1].processed) / span_s
        return {
            'input rate (Hz)': f'{received:.2f}',
            'processed rate (Hz)': f'{processed:.2f}',
        }


def describe_outputs(classes: ClassIds, cameras: CameraInfos) -> list[KeyValue]:
    """Return the values of the class mask, and the counts of camera_info."""
    counts = cameras.counts
    values = {
        'classes': ', '.join(f'{name}={value}' for name, value in classes.values.items()),
        'camera_info received': counts.received,
        'camera_info refused': counts.refused,
        'camera_info of another size': counts.mismatched,
        'camera_info problem': counts.problem,
    }
    return [KeyValue(key=key, value=str(value)) for key, value in values.items()]


def _measures(snapshot: Snapshot, pipeline: Pipeline) -> dict[str, Any]:
    counts, lane = snapshot.counts, pipeline.lane
    p50, p95 = (
        np.percentile(snapshot.latencies_ms, (50, 95)) if snapshot.latencies_ms.size else ('', '')
    )
    since = snapshot.since_frame_s
    result = pipeline.last_result
    states = collections.Counter(item.state for item in result.objects) if result else {}
    return {
        'frames received': counts.received,
        'frames processed': counts.processed,
        'frames dropped': pipeline.num_dropped,
        'frames waiting': lane.counts.pending if lane else 0,
        'frames ignored while disabled': counts.ignored,
        'frames invalid': counts.invalid,
        'frames failed': counts.failed,
        'pictures left out': pipeline.pictures_dropped,
        'latency p50 (ms)': f'{p50:.1f}' if p50 != '' else '',
        'latency p95 (ms)': f'{p95:.1f}' if p95 != '' else '',
        'time since last frame (s)': '' if since is None else f'{since:.2f}',
        **{f'objects {state.name.lower()}': states.get(state, 0) for state in ObjectState},
        'requests served': counts.requests_served,
        'requests failed': counts.requests_failed,
        'reinitializations accepted': counts.reinitializations_accepted,
        'reinitializations rejected': counts.reinitializations_rejected,
        'time jumps': counts.time_jumps,
        'resolution changes': counts.resolution_changes,
        'frame_id changes': counts.frame_id_changes,
        'last error': snapshot.error,
    }
