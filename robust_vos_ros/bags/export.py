"""Export bags with results as data sets or videos."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from robust_vos_ros.bags.formats import Coco, Davis, Format, Mot, YoloSeg, frame_rate
from robust_vos_ros.bags.labelled import LabelledFrame, labelled_frames
from robust_vos_ros.bags.reader import (
    COMPRESSED_IMAGE,
    BagReader,
    RawMessage,
    bag_name,
    header_stamp_ns,
)
from robust_vos_ros.bags.results import DEFAULT_NAMESPACE, ResultTopics
from robust_vos_ros.core.errors import BagError, ConfigError
from robust_vos_ros.ros_types.images import JPEG_START
from robust_vos_ros.video import VideoFile
from robust_vos_ros.visualization import draw_objects, encode_jpeg

FORMATS: dict[str, Callable[[Path, str], Format]] = {
    'davis': Davis,
    'coco': Coco,
    'yolo-seg': YoloSeg,
    'mot': Mot,
}
VIDEO = 'video'
_JPEG_QUALITY = 95


def export_bag(
    path: Path,
    out: Path,
    form: str,
    *,
    topic: str = '',
    namespace: str = DEFAULT_NAMESPACE,
    min_confidence: float = 0.0,
    on_frame: Callable[[], None] = lambda: None,
) -> int:
    """Write the images and masks of a bag in another format.

    Args:
        path: A bag with results.
        out: Folder to create; for `video` the file.
        form: A key of FORMATS, or `video`.
        topic: Image topic; empty = the only one.
        namespace: Namespace of the results.
        min_confidence: Masks with a lower confidence are left out.
        on_frame: Called after each frame.

    Returns:
        Number of written frames.

    Raises:
        BagError: The bag cannot be read, has no results, or they do not fit the format.
        ConfigError: The format is unknown, or `out` exists or cannot be written.
    """
    if form not in (*FORMATS, VIDEO):
        raise ConfigError(f'format: expected {", ".join(FORMATS)} or {VIDEO}, got {form!r}')
    if out.exists():
        raise ConfigError(f'{out} exists already; remove it or choose another name')
    results = ResultTopics(namespace)
    count = 0
    with BagReader(path) as bag:
        frames = _frames(bag, results, topic, min_confidence)
        try:
            with _open_export(bag, out, form, results) as writer:
                for frame in frames:
                    writer.add(frame)
                    count += 1
                    on_frame()
        except OSError as error:
            raise ConfigError(f'{out}: cannot be written: {error}') from error
    return count


def _frames(
    bag: BagReader, results: ResultTopics, topic: str, min_confidence: float
) -> Iterator[LabelledFrame]:
    """Return the frames of a bag; at least one is read at once.

    Raises:
        BagError: There is none.
    """
    images = results.find_images(bag, topic, required=False)
    frames = labelled_frames(bag, images, results, min_confidence=min_confidence)
    first = next(frames, None)
    if first is None:
        raise BagError(
            f'{bag.path}: expected a frame with objects and mask of one stamp'
            f'{f" as an image on {images}" if images else ""}, got none'
        )
    return itertools.chain((first,), frames)


def _open_export(
    bag: BagReader, out: Path, form: str, results: ResultTopics
) -> _FolderExport | _VideoExport:
    if form == VIDEO:
        return _VideoExport(bag, out, results)
    out.mkdir(parents=True)
    return _FolderExport(bag, FORMATS[form](out, bag_name(bag.path)))


class _FolderExport:
    """Writes masks in a format, and the images beside them."""

    def __init__(self, bag: BagReader, form: Format) -> None:
        self._bag, self._form = bag, form

    def __enter__(self) -> _FolderExport:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._form.finish()

    def add(self, frame: LabelledFrame) -> None:
        self._form.add(frame)
        if frame.image is not None:
            path = self._form.image_path(frame.index)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._to_jpeg(frame.image))

    def _to_jpeg(self, message: RawMessage) -> bytes:
        """Return an image as a JPEG file; recorded JPEG bytes are copied."""
        if message.msgtype == COMPRESSED_IMAGE:
            data = bytes(self._bag.decode(message).data)
            if data.startswith(JPEG_START):
                return data
        return encode_jpeg(self._bag.frame(message).rgb, _JPEG_QUALITY)


class _VideoExport:
    """Writes a video of the masks over the images, or over black if there are none."""

    def __init__(self, bag: BagReader, path: Path, results: ResultTopics) -> None:
        self._bag, self._path = bag, path
        stamps_ns = [header_stamp_ns(m.cdr) for m in bag.messages([results.objects])]
        self._rate_hz = frame_rate(stamps_ns)
        self._file: VideoFile | None = None

    def __enter__(self) -> _VideoExport:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._file is not None:
            self._file.__exit__(None, None, None)

    def add(self, frame: LabelledFrame) -> None:
        if frame.image is None:
            rgb = np.zeros((*frame.labels.shape, 3), np.uint8)
        else:
            rgb = self._bag.frame(frame.image).rgb
        picture = draw_objects(rgb, frame.labels, frame.objects)[..., ::-1]
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = VideoFile(self._path, picture.shape[1::-1], self._rate_hz)
        self._file.write(np.ascontiguousarray(picture))
