"""Look at a frame of a stream for things that fit an expression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.prompting.prompts import MAX_NAME
from robust_vos_ros.core.tracks import Tracks
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.core.words.finder import Recent, WordFinder
from robust_vos_ros.core.words.finding import Match
from robust_vos_ros.core.words.search import Search, Sighting, new_id
from robust_vos_ros.core.zoom.window import Record

# A match that overlaps a live object this much is that object.
_LIVE_IOU = 0.5


class Looker:
    """Looks at whole frames of a stream, and remembers the newest ones that it looked at.

    Its methods raise PromptError if words are not available.

    Args:
        tracks: Of the stream; their model has the finder.
    """

    def __init__(self, tracks: Tracks) -> None:
        self._tracks = tracks
        self._recent = Recent()

    @property
    def finder(self) -> WordFinder:
        """The finder of the model."""
        finder = self._tracks.model.finder
        if finder is None:
            raise PromptError(
                'words need a model with a finder, got one without; make it with load_model'
            )
        return finder

    def forget(self) -> None:
        """Forget the frames looked at."""
        self._recent.clear()

    def match(self, text: str, record: Record, least: float) -> list[Match]:
        """Return the matches of an expression of at least a confidence, the best first."""
        segmenter = self._tracks.segmenter
        with self._tracks.model.inference():
            features = segmenter.encode(record)
            found = self.finder.find(features, text, self._recent, record.frame_index)
        return [match for match in found if match.confidence >= least]

    def look(self, search: Search, record: Record) -> list[Sighting]:
        """Look for what a search wants; the most probable things first."""
        search.looked_ns = record.stamp_ns
        tracks = self._tracks
        visible = [item for item in tracks.objects if item.track.visible]
        with tracks.model.inference():
            shown = tracks.frames.to_whole(tracks.propagator.masks(visible))
        used = {item.object_id for item in tracks.objects}
        found: list[Sighting] = []
        for match in self.match(search.text, record, search.min_confidence)[: search.room]:
            mine = _overlapping(match, [item.object_id for item in visible], shown)
            if mine is None:
                name = search.object_id or new_id(search.text, used)
                used.add(name)
                prompt = to_prompt(match, name, search.text, search.class_id, record)
                found.append(Sighting(name, match.confidence, prompt))
            elif not search.object_id:
                found.append(Sighting(mine, match.confidence, None))
        return found


def to_prompt(match: Match, object_id: str, text: str, class_id: str, record: Record) -> Prompt:
    """Return the mask of a match as a prompt in pixels of the image.

    Args:
        match: Of the expression `text`.
        object_id: Of the prompt.
        text: Of the prompt.
        class_id: Of the prompt; empty = the expression.
        record: The whole frame.
    """
    logits = match.logits[None, None].float()
    mask = F.interpolate(logits, record.size_hw, mode='bilinear', align_corners=False)[0, 0] > 0
    return Prompt(
        object_id,
        mask=mask.numpy(force=True),
        class_id=class_id or text[:MAX_NAME],
        text=text,
    )


def _overlapping(match: Match, live: Sequence[str], shown: torch.Tensor) -> str | None:
    """Return the id of the visible object that a match shows; None if it shows none."""
    if not live:
        return None
    overlap = mask_iou((match.logits > 0)[None], shown > 0)
    best = int(overlap.argmax())
    return live[best] if float(overlap[best]) >= _LIVE_IOU else None
