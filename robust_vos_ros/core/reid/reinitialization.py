"""Re-initialize unseen objects from candidates, such as the boxes of a detector."""

from __future__ import annotations

import dataclasses

from robust_vos_ros.core.prompting.starting import PromptedFrame
from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.reid.association import associate
from robust_vos_ros.core.reid.reidentifier import Scene
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.tracks import Tracks
from robust_vos_ros.core.types import UNSEEN_STATES, TrackEvent, TrackResult


@dataclasses.dataclass(frozen=True, slots=True)
class Reinitialization:
    """Result of `VideoTracker.reinitialize`.

    Attributes:
        result: Of the newest frame, with all objects.
        accepted: Ids of the objects that were re-initialized.
        rows: Indices of the accepted prompts.
        rejected: Reason for each rejected candidate, a sentence each.
    """

    result: TrackResult
    accepted: tuple[str, ...]
    rows: tuple[int, ...]
    rejected: tuple[str, ...]


def reinitialize(
    tracks: Tracks, candidates: PromptedFrame, settings: TrackerSettings, start_ns: int
) -> Reinitialization:
    """Re-initialize unseen objects; see `VideoTracker.reinitialize`.

    Args:
        tracks: Of all objects.
        candidates: Prompts with the ids of the objects.
        settings: Of tracking.
        start_ns: As for `make_result`.

    Raises:
        UnknownIdError: No live object has the id of a prompt; nothing has changed.
    """
    pairs = [(tracks.objects.get(prompt.object_id), prompt) for prompt in candidates.prompts]
    unseen = [row for row, (item, _) in enumerate(pairs) if item.track.state in UNSEEN_STATES]
    pairs = [pairs[row] for row in unseen]
    record, propagator = candidates.record, tracks.propagator
    events: list[TrackEvent] = []
    with tracks.model.inference():
        live = list(tracks.objects)
        tracks.frames.reset_window(live)
        features = tracks.segmenter.encode(record)
        accepted, rejected = associate(
            [item for item, _ in pairs],
            tracks.segmenter.segment([prompt for _, prompt in pairs], record),
            propagator.reidentifier,
            Scene(feature_map(features, record.image), live),
            settings,
            shown=propagator.masks([item for item in live if item.track.visible]),
            min_similarity=settings.reacquire.min_similarity,
        )
        items = [candidate.item for candidate in accepted]
        for candidate in accepted:
            kept, spatial = candidate.segment.kept, candidate.segment.spatial
            propagator.seed(candidate.item, features, kept, spatial, record.frame_index)
        for later in candidates.newer if items else ():
            events += tracks.follow(items, later, settings)
    return Reinitialization(
        tracks.show(events, start_ns),
        tuple(item.object_id for item in items),
        tuple(unseen[candidate.segment.rows[0]] for candidate in accepted),
        tuple(rejected),
    )
