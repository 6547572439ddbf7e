"""All statuses of one camera on /diagnostics: tracker, positions and detector."""

from __future__ import annotations

import dataclasses

from diagnostic_msgs.msg import DiagnosticStatus

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.node.diagnostics import Reporter, describe_outputs
from robust_vos_ros.node.overload import Overload
from robust_vos_ros.node.parts import ConfiguredCamera
from robust_vos_ros.node.position_diagnostics import describe_positions
from robust_vos_ros.node.positions import Positions
from robust_vos_ros.node.settings import NodeSettings


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What the statuses of one camera are made of.

    Attributes:
        name: Of the node, and of the camera if there are several.
        lifecycle_state: `unconfigured`, `inactive`, `active`, ...
        problem: Why the last transition failed; empty if it did not.
        settings: Of the camera.
        model: None while unconfigured; `camera` as well.
        overload: None before the first activation.
        positions: None while inactive, or without positions.
    """

    name: str
    lifecycle_state: str
    problem: str
    settings: NodeSettings
    model: Model | None
    overload: Overload | None
    camera: ConfiguredCamera | None
    positions: Positions | None

    def make(self, reporter: Reporter) -> list[DiagnosticStatus]:
        """Return the statuses.

        Args:
            reporter: Of the camera; keeps counters from report to report.
        """
        camera, settings = self.camera, self.settings
        tracker = reporter.report(
            self.name,
            lifecycle_state=self.lifecycle_state,
            problem=self.problem,
            model=self.model,
            pipeline=None if camera is None else camera.pipeline,
            settings=settings,
            overload=self.overload,
        )
        statuses = [tracker]
        if camera is None:
            return statuses
        tracker.values += describe_outputs(camera.outputs.classes, camera.outputs.infos)
        if self.positions is not None:
            report = self.positions.report()
            statuses.append(describe_positions(self.name, report, settings=settings))
        detector = camera.pipeline.statistics.detector
        if camera.pipeline.lane is not None and detector.counts.received:
            hold_s = settings.diagnostics.error_hold_s
            statuses.append(detector.describe(self.name, settings.detector.mode, hold_s))
        return statuses
