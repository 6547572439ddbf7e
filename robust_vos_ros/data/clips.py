"""Training clips from real footage: real motion, one frame set in motion, and pasted objects."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.config import Settings, setting
from robust_vos_ros.data import motion, photometric
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.layers import cut_out
from robust_vos_ros.data.synthetic import SyntheticSettings, render_clip
from robust_vos_ros.data.video_folder import VideoSequence

_NUM_PHOTOS = 6
_NUM_CUTOUTS = 3


class ClipSettings(Settings):
    """How clips are cut out of footage and changed."""

    max_stride: int = setting(5, 'Largest step between frames of a real clip.', ge=1, le=100)
    slow: float = setting(
        0.5, 'Share of real clips at the rate of the footage, stride 1.', ge=0.0, le=1.0
    )
    min_crop: float = setting(
        0.45, 'Smallest crop, share of the height of the frame.', gt=0.0, le=1.0
    )
    max_aspect: float = setting(
        1.35, 'Largest change of the aspect ratio by a crop.', ge=1.0, le=4.0
    )
    pan: float = setting(
        0.08, 'Motion of the crop over a clip, share of its size.', ge=0.0, le=1.0
    )
    paste: float = setting(
        0.5, 'Share of clips into which objects of other footage are pasted.', ge=0.0, le=1.0
    )
    max_pasted: int = setting(2, 'Most objects pasted into a clip.', ge=1, le=8)
    cache_frames: int = setting(4000, 'Decoded frames kept in memory.', ge=0)


class Footage:
    """Frames and masks of sequences, decoded once.

    Args:
        sequences: Where they come from.
        cache_frames: How many are kept.

    Attributes:
        labelled: For each sequence the indices of its labelled frames.
    """

    def __init__(self, sequences: Sequence[VideoSequence], cache_frames: int) -> None:
        self.sequences = sequences
        self.labelled = [np.array(sequence.labelled) for sequence in sequences]
        self.frame = functools.lru_cache(cache_frames)(self._frame)

    def _frame(self, sequence: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W, 3) uint8 RGB and (K, H, W) uint8 masks, one row per object id."""
        source = self.sequences[sequence]
        image = source.image(index)
        masks = source.masks(index) or {}
        stack = np.zeros((len(source.object_ids), *image.shape[:2]), np.uint8)
        for row, object_id in enumerate(source.object_ids):
            if object_id in masks:
                stack[row] = masks[object_id]
        return image, stack


class ClipMaker:
    """Make clips of square images.

    Args:
        settings: How.
        size: Side of the images in pixels.
        sequences: Real footage; may be empty where only synthetic clips are asked for.
    """

    def __init__(
        self, settings: ClipSettings, size: int, sequences: Sequence[VideoSequence]
    ) -> None:
        self._settings = settings
        self._size = size
        self._footage = Footage(sequences, settings.cache_frames)

    def make(self, kind: str, rng: np.random.Generator, num_frames: int) -> Clip:
        """Return a clip of one kind: `real`, `warped` or `synthetic`."""
        makers = {'real': self.real, 'warped': self.warped, 'synthetic': self.synthetic}
        return makers[kind](rng, num_frames)

    def synthetic(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Render a clip, with textures and cut-outs of the footage where there is some."""
        photos, cutouts = [], []
        if self._footage.sequences:
            photos = [self._shot(rng, 1)[0][0] for _ in range(_NUM_PHOTOS)]
            for _ in range(_NUM_CUTOUTS):
                shots = self._shot(rng, num_frames)
                row = int(rng.integers(len(shots[0][1])))
                masks = np.stack([stack[row] for _, stack in shots])
                if masks[0].any():
                    cutouts.append(cut_out(np.stack([image for image, _ in shots]), masks))
        seed = int(rng.integers(2**62))
        return render_clip(
            seed, num_frames=num_frames, size=self._size, settings=SyntheticSettings(),
            photos=photos, cutouts=cutouts,
        )  # fmt: skip

    def _shot(self, rng: np.random.Generator, num_frames: int) -> list[tuple]:
        """Return consecutive labelled frames of one sequence, with their masks."""
        sequence = int(rng.integers(len(self._footage.sequences)))
        labelled = self._footage.labelled[sequence]
        first = int(rng.integers(max(1, len(labelled) - num_frames + 1)))
        picked = labelled[np.minimum(first + np.arange(num_frames), len(labelled) - 1)]
        return [self._footage.frame(sequence, int(index)) for index in picked]

    def real(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Take frames at a random stride, forwards or backwards, through a moving crop."""
        sequence = int(rng.integers(len(self._footage.sequences)))
        labelled = self._footage.labelled[sequence]
        longest = max(1, (len(labelled) - 1) // max(1, num_frames - 1))
        stride = int(rng.integers(1, min(self._settings.max_stride, longest) + 1))
        if rng.random() < self._settings.slow:
            stride = 1
        reach = stride * (num_frames - 1)
        first = int(rng.integers(0, max(1, len(labelled) - reach)))
        picked = np.minimum(first + stride * np.arange(num_frames), len(labelled) - 1)
        if rng.random() < 0.5:
            picked = picked[::-1]
        shots = [self._footage.frame(sequence, int(labelled[i])) for i in picked]
        boxes = self._crop(rng, shots[0][1], num_frames)
        mirror = rng.random() < 0.5
        images, masks = [], []
        for (image, stack), box in zip(shots, boxes, strict=True):
            cut, cut_masks = _resample(image, stack, box, self._size)
            images.append(cut[:, ::-1] if mirror else cut)
            masks.append(cut_masks[:, :, ::-1] if mirror else cut_masks)
        name = self._footage.sequences[sequence].name
        return self._finish(rng, name, np.stack(images), np.stack(masks, axis=1))

    def warped(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Set one real frame in motion by an affine path and a smooth deformation."""
        ((image, stack),) = self._shot(rng, 1)
        box = self._crop(rng, stack, 1)[0]
        image, stack = _resample(image, stack, box, self._size)
        if rng.random() < 0.5:
            image, stack = image[:, ::-1], stack[:, :, ::-1]
        size = self._size
        path = motion.affine_path(
            rng, num_frames, size=size, shift=0.3 * size, turn_deg=25, log_scale=0.3, shear=0.2
        )
        amplitude = rng.uniform(0.0, 0.04) * size
        fields = motion.field_path(rng, num_frames, size, cells=4, amplitude=amplitude)
        images, masks = [], []
        source = np.ascontiguousarray(image)
        soft = np.ascontiguousarray(stack.transpose(1, 2, 0)).astype(np.float32)
        for matrix, field in zip(path, fields, strict=True):
            images.append(motion.warp(source, matrix, field, border='reflect'))
            moved = motion.warp(soft, matrix, field, border='zero')
            masks.append(moved.reshape(size, size, -1).transpose(2, 0, 1) >= 0.5)
        return self._finish(
            rng, 'warped', np.stack(images), np.stack(masks, axis=1).astype(np.uint8)
        )

    def _crop(self, rng: np.random.Generator, masks: np.ndarray, num_frames: int) -> np.ndarray:
        """Return (T, 4) float64 boxes x0, y0, width, height around an object, slowly moving."""
        settings = self._settings
        frame_height, frame_width = masks.shape[1:]
        share = rng.uniform(settings.min_crop, 1.0)
        limit = np.log(settings.max_aspect)
        stretch = np.exp(rng.uniform(-limit, limit) / 2)
        height = min(frame_height, share * frame_height / stretch)
        width = min(frame_width, share * frame_width * stretch)
        ys, xs = np.nonzero(masks.any(axis=0))
        place = rng.integers(len(ys)) if len(ys) else None
        x, y = (
            (rng.uniform(0, frame_width), rng.uniform(0, frame_height))
            if place is None
            else (xs[place], ys[place])
        )
        corner = np.array([x - width * rng.uniform(0.2, 0.8), y - height * rng.uniform(0.2, 0.8)])
        drift = motion.smooth_curve(rng, num_frames, 2) * settings.pan * [width, height]
        drift *= rng.uniform(0.0, 1.0)
        room = [frame_width - width, frame_height - height]
        corners = np.clip(corner + drift, 0, room)
        return np.concatenate([corners, np.tile([width, height], (num_frames, 1))], axis=1)

    def _finish(
        self, rng: np.random.Generator, name: str, images: np.ndarray, masks: np.ndarray
    ) -> Clip:
        if rng.random() < self._settings.paste:
            for _ in range(rng.integers(1, self._settings.max_pasted + 1)):
                masks = self._paste(rng, images, masks)
        images = photometric.degrade(rng, images, photometric.PhotometricSettings())
        return Clip(name, images, masks)

    def _paste(
        self, rng: np.random.Generator, images: np.ndarray, masks: np.ndarray
    ) -> np.ndarray:
        """Let an object of other footage pass in front of the others, or behind them.

        Args:
            rng: Source of randomness.
            images: (T, S, S, 3) uint8, changed.
            masks: (K, T, S, S) uint8.

        Returns:
            (K + 1, T, S, S) uint8 masks of what is visible now.
        """
        num_frames, size = images.shape[:2]
        shots = self._shot(rng, num_frames)
        row = int(rng.integers(len(shots[0][1])))
        ys, xs = np.nonzero(shots[0][1][row])
        if not len(ys):
            return masks
        place = _placement(rng, (np.median(xs), np.median(ys)), len(ys), size)
        path = motion.affine_path(
            rng, num_frames, size=size, shift=0.6 * size, turn_deg=20, log_scale=0.3, shear=0.1,
            center=(float(place[1][0]), float(place[1][1])),
        )  # fmt: skip
        behind = rng.random() < 0.3
        added = np.zeros((1, num_frames, size, size), np.uint8)
        for t, (image, stack) in enumerate(shots):
            matrix = motion.compose(path[t], place[0])
            color = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
            soft = stack[row].astype(np.float32)
            alpha = cv2.warpAffine(soft, matrix, (size, size), flags=cv2.INTER_LINEAR)
            if behind:
                alpha = alpha * (1 - masks[:, t].max(axis=0))
            added[0, t] = alpha >= 0.5
            images[t] = images[t] + alpha[..., None] * (color.astype(np.float32) - images[t])
        return np.concatenate([masks * (1 - added), added])


def _placement(
    rng: np.random.Generator, center: tuple[float, float], area_px: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw where an object is pasted: a (2, 3) matrix from its frame, and its (x, y) centre."""
    wanted = size**2 * np.exp(rng.uniform(np.log(0.008), np.log(0.15)))
    scale = np.sqrt(wanted / area_px)
    mirror = rng.choice([-1.0, 1.0])
    linear = np.diag([mirror * scale, scale])
    target = rng.uniform(0.05, 0.95, 2) * size
    return np.concatenate([linear, (target - linear @ center)[:, None]], axis=1), target


def _resample(
    image: np.ndarray, masks: np.ndarray, box: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a box out of an image and its masks and bring it to size x size."""
    x0, y0 = (int(v) for v in np.floor(box[:2]))
    x1, y1 = (int(v) for v in np.ceil(box[:2] + box[2:]))
    cut = cv2.resize(image[y0:y1, x0:x1], (size, size), interpolation=cv2.INTER_AREA)
    small = np.zeros((len(masks), size, size), np.uint8)
    for row, mask in enumerate(masks):
        soft = mask[y0:y1, x0:x1].astype(np.float32)
        small[row] = cv2.resize(soft, (size, size), interpolation=cv2.INTER_AREA) >= 0.5
    return cut, small
