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
from robust_vos_ros.core.words.adapter import Glimpse
from robust_vos_ros.core.words.finder import WordFinder
from robust_vos_ros.core.words.finding import Match
from robust_vos_ros.core.words.search import Search, Sighting, new_id
from robust_vos_ros.core.zoom.window import Record

# Frames that show a motion are this far apart; one that was looked at is rather taken.
_GAP_NS, _LONGEST_GAP_NS = 200_000_000, 400_000_000
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
        self._seen: dict[int, Glimpse] = {}  # by the index of the frame

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
        self._seen.clear()

    def match(self, text: str, record: Record, least: float) -> list[Match]:
        """Return the matches of an expression of at least a confidence, the best first."""
        finder, history = self.finder, self._tracks.frames.history
        with self._tracks.model.inference():
            features = self._tracks.segmenter.encode(record)
            glimpse = finder.glimpse(features)
            before = self._before(record, finder.num_before(text))
            found = finder.find(features, text, [glimpse, *before])
            kept = {one.frame_index for one in history.before(record)}
            self._seen = {k: v for k, v in self._seen.items() if k in kept}
            self._seen[record.frame_index] = glimpse
        return [match for match in found if match.confidence >= least]

    def _before(self, record: Record, count: int) -> list[Glimpse]:
        """Return what is kept of up to `count` frames of the history, the newest first."""
        chosen: list[Record] = []
        while len(chosen) < count:
            last = chosen[-1] if chosen else record
            ages = [
                (last.stamp_ns - one.stamp_ns, one)
                for one in self._tracks.frames.history.before(last)
            ]
            far = [(age, one) for age, one in ages if age >= _GAP_NS]
            if not far:
                break
            near = [pair for pair in far if pair[0] <= _LONGEST_GAP_NS]
            looked = [pair for pair in near if pair[1].frame_index in self._seen]
            chosen.append(min(looked or far, key=lambda pair: pair[0])[1])
        for one in chosen:
            if one.frame_index not in self._seen:
                features = self._tracks.model.encode(one.image[None])
                self._seen[one.frame_index] = self.finder.glimpse(features)
        return [self._seen[one.frame_index] for one in chosen]

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
