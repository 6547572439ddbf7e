"""Status of 3D positions on /diagnostics, separate because 2D tracking does not depend on it."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from robust_vos_ros.node import position_messages, transforms
from robust_vos_ros.node.positions import PositionReport
from robust_vos_ros.node.settings import NodeSettings


def judge_positions(report: PositionReport, settings: NodeSettings) -> tuple[bytes, str]:
    """Return level and message.

    Args:
        report: Counts and problems.
        settings: Limits.
    """
    limit_s, since_s = settings.diagnostics.stale_after_s, report.since_depth_s
    target, matches = settings.spatial.target_frame, report.matches
    unmatched = (
        f'{matches.recent_lost} of the newest {matches.recent} results have no depth within '
        f'{settings.spatial.sync_tolerance_s:g} s; see spatial.sync_tolerance_s and '
        'spatial.max_wait_s, and spatial.queue_size where the tracker takes longer than so many '
        'depth images'
    )
    findings = (  # the first true one counts
        (since_s is None, 'no depth received since activation'),
        (since_s is not None and since_s > limit_s, f'no depth received for {since_s or 0:.1f} s'),
        (bool(report.problem), report.problem),
        (2 * matches.recent_lost > matches.recent, unmatched),
        (
            bool(target) and transforms.tf2_ros is None,
            f'tf2_ros is not installed: positions are in the frame of the image, not in {target}',
        ),
        (
            settings.spatial.tf and position_messages.TFMessage is None,
            'tf2_msgs is not installed: object frames are not published (spatial.tf)',
        ),
    )
    for found, message in findings:
        if found:
            return DiagnosticStatus.WARN, message
    return DiagnosticStatus.OK, 'locating'


def describe_positions(
    name: str, report: PositionReport, *, settings: NodeSettings
) -> DiagnosticStatus:
    """Return the status.

    Args:
        name: Of the node.
        report: Counts and problems.
        settings: Of the node.
    """
    level, message = judge_positions(report, settings)
    matches, times = report.matches, report.times_ms
    p50, p95 = np.percentile(times, (50, 95)) if times.size else (np.nan, np.nan)
    values = {
        'depth received': matches.depths,
        'depth unused': matches.depths_unused,
        'results matched': matches.matched,
        'results without depth': matches.without_depth,
        'results too early for depth': matches.late,
        'results dropped': matches.overrun,
        'pairs refused': report.refused,
        'arrays published': report.published,
        'objects without position': report.without_position,
        'depth camera_info received': report.camera.received,
        'depth camera_info refused': report.camera.refused,
        'depth camera_info problem': report.camera.problem,
        'time per image p50 (ms)': f'{p50:.2f}',
        'time per image p95 (ms)': f'{p95:.2f}',
    }
    return DiagnosticStatus(
        level=level,
        name=f'{name}: positions',
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
