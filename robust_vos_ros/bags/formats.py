"""Formats of exported data sets: DAVIS, COCO, YOLO segmentation, MOT."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import yaml

from robust_vos_ros.bags.labelled import LabelledFrame, LabelledObject
from robust_vos_ros.bags.mask_files import VOID, ObjectName, save_names, write_labels
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.files import write_json
from robust_vos_ros.ros_types.messages import encode_rle

_NO_CLASS = 'object'


class Format(Protocol):
    """A data set that is written frame by frame."""

    def image_path(self, index: int) -> Path:
        """Return the path for the image of a frame."""

    def add(self, frame: LabelledFrame) -> None:
        """Add one frame."""

    def finish(self) -> None:
        """Write what is known only at the end."""


class Classes:
    """Numbers of classes, in the order of their first appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def number(self, item: LabelledObject) -> int:
        """Return the number of an object's class, from 0."""
        name = item.class_id or _NO_CLASS
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)


class Davis:
    """Palette masks in the layout of DAVIS 2017, and objects.json with the names of the values."""

    def __init__(self, root: Path, name: str) -> None:
        self._images = root / 'JPEGImages' / '480p' / name
        self._masks = root / 'Annotations' / '480p' / name
        self._masks.mkdir(parents=True)
        self._root, self._name = root, name
        self._objects: dict[int, ObjectName] = {}

    def image_path(self, index: int) -> Path:
        """Return the path of the file 00000.jpg for frame 0."""
        return self._images / f'{index:05d}.jpg'

    def add(self, frame: LabelledFrame) -> None:
        """Write one mask.

        Raises:
            BagError: A label is too large for DAVIS, or was used for two objects.
        """
        for item in frame.shown:
            if item.label >= VOID:
                raise BagError(
                    f'frame {frame.index}: expected labels below {VOID} for DAVIS, got '
                    f'{item.label}; export to COCO'
                )
            name = ObjectName(object_id=item.object_id, class_id=item.class_id)
            if self._objects.setdefault(item.label, name).object_id != name.object_id:
                raise BagError(
                    f'frame {frame.index}: {item.object_id!r} has the label {item.label} of '
                    f'{self._objects[item.label].object_id!r}, which DAVIS cannot tell apart; '
                    'export to COCO'
                )
        write_labels(self._masks / f'{frame.index:05d}.png', frame.labels.astype(np.uint8))

    def finish(self) -> None:
        """Write the split and the names."""
        split = self._root / 'ImageSets' / '2017' / 'val.txt'
        split.parent.mkdir(parents=True)
        split.write_text(f'{self._name}\n', encoding='utf-8')
        save_names(self._root / 'objects.json', self._objects)


class Coco:
    """One annotation per object and frame, as RLE; `track_id` is the same over frames."""

    def __init__(self, root: Path, name: str) -> None:
        self._images = root / 'images'
        self._path = root / 'annotations.json'
        self._classes, self._tracks = Classes(), list[str]()
        self._content: dict[str, Any] = {
            'info': {'description': name},
            'images': [],
            'annotations': [],
        }

    def image_path(self, index: int) -> Path:
        """Return the path of the file 00000.jpg for frame 0."""
        return self._images / f'{index:05d}.jpg'

    def add(self, frame: LabelledFrame) -> None:
        """Add the annotations of one frame."""
        height, width = frame.labels.shape
        self._content['images'].append(
            {
                'id': frame.index,
                'file_name': self.image_path(frame.index).name,
                'width': width,
                'height': height,
                'stamp_ns': frame.stamp_ns,
            }
        )
        for item in frame.shown:
            mask = frame.labels == item.label
            if item.object_id not in self._tracks:
                self._tracks.append(item.object_id)
            annotations = self._content['annotations']
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': frame.index,
                    'category_id': self._classes.number(item) + 1,
                    'segmentation': {
                        'size': [height, width],
                        'counts': encode_rle(mask).decode('ascii'),
                    },
                    'area': item.area_px,
                    'bbox': list(item.box_xywh),
                    'iscrowd': 0,
                    'track_id': self._tracks.index(item.object_id) + 1,
                    'object_id': item.object_id,
                    'confidence': round(item.confidence, 4),
                }
            )

    def finish(self) -> None:
        """Write the file."""
        names = enumerate(self._classes.names, start=1)
        self._content['categories'] = [{'id': number, 'name': name} for number, name in names]
        write_json(self._path, self._content, indent=None)


class YoloSeg:
    """A text file per frame with class and polygon of each part of a mask; holes are filled."""

    def __init__(self, root: Path, name: str) -> None:
        del name
        self._images = root / 'images'
        self._labels = root / 'labels'
        self._labels.mkdir(parents=True)
        self._root, self._classes = root, Classes()

    def image_path(self, index: int) -> Path:
        """Return the path of the file 00000.jpg for frame 0."""
        return self._images / f'{index:05d}.jpg'

    def add(self, frame: LabelledFrame) -> None:
        """Write one text file; it is empty if no object is visible."""
        lines = []
        size_wh = np.array(frame.labels.shape[::-1])
        for item in frame.shown:
            mask = (frame.labels == item.label).astype(np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            for outline in outlines:
                points = outline[:, 0]
                if len(points) < 3:  # readers refuse parts of one or two pixels
                    points = np.repeat(points, 3, axis=0)
                # Centres of pixels, so that rounding down gives the same pixels.
                values = ((points + 0.5) / size_wh).reshape(-1)
                numbers = ' '.join(f'{value:.6f}' for value in values)
                lines.append(f'{self._classes.number(item)} {numbers}\n')
        path = self._labels / f'{frame.index:05d}.txt'
        path.write_text(''.join(lines), encoding='utf-8')

    def finish(self) -> None:
        """Write data.yaml."""
        content = {
            'path': '.',
            'train': 'images',
            'val': 'images',
            'names': dict(enumerate(self._classes.names)),
        }
        text = yaml.safe_dump(content, sort_keys=False)
        (self._root / 'data.yaml').write_text(text, encoding='utf-8')


class Mot:
    """Boxes as ground truth of MOTChallenge; frames, ids and pixels count from 1."""

    def __init__(self, root: Path, name: str) -> None:
        self._images = root / name / 'img1'
        self._length = 0
        self._root, self._name = root / name, name
        self._classes, self._tracks = Classes(), list[str]()
        self._rows: list[str] = []
        self._size_wh = (0, 0)
        self._stamps_ns: list[int] = []

    def image_path(self, index: int) -> Path:
        """Return the path of the file 000001.jpg for frame 0."""
        return self._images / f'{index + 1:06d}.jpg'

    def add(self, frame: LabelledFrame) -> None:
        """Add one frame; a row is frame, id, left, top, width, height, 1, class, visibility."""
        self._size_wh = frame.labels.shape[1], frame.labels.shape[0]
        self._stamps_ns.append(frame.stamp_ns)
        self._length = frame.index + 1  # frames without a result count too
        for item in frame.shown:
            if item.object_id not in self._tracks:
                self._tracks.append(item.object_id)
            track = self._tracks.index(item.object_id) + 1
            x, y, width, height = item.box_xywh
            number = self._classes.number(item) + 1
            self._rows.append(
                f'{frame.index + 1},{track},{x + 1},{y + 1},{width},{height},1,{number},'
                f'{item.existence_probability:.3f}\n'
            )

    def finish(self) -> None:
        """Write gt.txt, labels.txt and seqinfo.ini."""
        (self._root / 'gt').mkdir(parents=True, exist_ok=True)
        (self._root / 'gt' / 'gt.txt').write_text(''.join(self._rows), encoding='utf-8')
        names = ''.join(f'{name}\n' for name in self._classes.names)
        (self._root / 'gt' / 'labels.txt').write_text(names, encoding='utf-8')
        lines = {
            'name': self._name,
            'imDir': 'img1',
            'frameRate': round(frame_rate(self._stamps_ns)),
            'seqLength': self._length,
            'imWidth': self._size_wh[0],
            'imHeight': self._size_wh[1],
            'imExt': '.jpg',
        }
        text = '[Sequence]\n' + ''.join(f'{key}={value}\n' for key, value in lines.items())
        (self._root / 'seqinfo.ini').write_text(text, encoding='utf-8')


def frame_rate(stamps_ns: list[int]) -> float:
    """Return the median frame rate in Hz, 1 if it is not known."""
    gaps = np.diff(stamps_ns)
    gaps = gaps[gaps > 0]
    return float(1e9 / np.median(gaps)) if gaps.size else 1.0
