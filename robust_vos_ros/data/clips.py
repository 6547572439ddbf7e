"""Training clips: real footage, animated still images, and rendered clips."""

from __future__ import annotations

import cv2
import numpy as np

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data import layered, motion, photometric
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.layered import LayeredSettings
from robust_vos_ros.data.layers import cut_out
from robust_vos_ros.data.moving_objects import draw
from robust_vos_ros.data.sources import LabelledImage, Sources
from robust_vos_ros.data.synthetic import SyntheticSettings, render_clip

_NUM_PHOTOS = 6
_NUM_CUTOUTS = 3
_CONTEXT = (1.5, 3.0)  # side of a zoomed crop, relative to its object
_LEAST_CROP = 0.3  # side of a zoomed crop, share of the frame


class ClipSettings(Settings):
    """How clips are cropped from footage and augmented."""

    max_stride: int = setting(5, 'Largest step between frames of a real clip.', ge=1, le=100)
    slow: float = setting(
        0.5, 'Share of real clips with stride 1, the rate of the footage.', ge=0.0, le=1.0
    )
    min_crop: float = setting(
        0.45, 'Height of the smallest crop, share of the frame.', gt=0.0, le=1.0
    )
    zoomed: float = setting(
        0.0,
        'Share of clips cropped around one object as the zoom of tracking does, so that the '
        'object has 1/3 to 2/3 of the side.',
        ge=0.0,
        le=1.0,
    )
    max_aspect: float = setting(
        1.35, 'Largest factor by which a crop changes the aspect ratio.', ge=1.0, le=4.0
    )
    pan: float = setting(
        0.08, 'Motion of the crop over a real clip, share of the size of the crop.', ge=0.0, le=1.0
    )
    paste: float = setting(
        0.5, 'Share of clips into which objects of other images are pasted.', ge=0.0, le=1.0
    )
    max_pasted: int = setting(2, 'Most objects pasted into a clip.', ge=1, le=8)
    layered: LayeredSettings = LayeredSettings()


class ClipMaker:
    """Make clips of square images.

    Args:
        settings: How they are made.
        size: Side of the images in pixels.
        sources: Footage; may be empty if only synthetic clips are made.
    """

    def __init__(self, settings: ClipSettings, size: int, sources: Sources) -> None:
        self._settings = settings
        self._size = size
        self._sources = sources

    def make(self, kind: str, rng: np.random.Generator, num_frames: int) -> Clip:
        """Return a clip of one kind: `real`, `layered` or `synthetic`."""
        makers = {'real': self.real, 'layered': self.layered, 'synthetic': self.synthetic}
        return makers[kind](rng, num_frames)

    def synthetic(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Render a clip, with textures and objects of the footage if there is any."""
        photos, cutouts = [], []
        if len(self._sources):
            photos = [self._sources.draw(rng, 1)[0].image for _ in range(_NUM_PHOTOS)]
            for _ in range(_NUM_CUTOUTS):
                frames = self._sources.draw(rng, num_frames)
                if not len(frames[0].masks):
                    continue
                row = int(rng.integers(len(frames[0].masks)))
                masks = np.stack([frame.masks[row] for frame in frames])
                if masks[0].any():
                    cutouts.append(cut_out(np.stack([frame.image for frame in frames]), masks))
        seed = int(rng.integers(2**62))
        return render_clip(
            seed, num_frames=num_frames, size=self._size, settings=SyntheticSettings(),
            photos=photos, cutouts=cutouts,
        )  # fmt: skip

    def real(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Take frames at a random stride, forwards or backwards, through a moving crop."""
        videos = self._sources.draw_videos(rng)
        sequence = int(rng.integers(len(videos.sequences)))
        labelled = videos.labelled[sequence]
        longest = max(1, (len(labelled) - 1) // max(1, num_frames - 1))
        stride = int(rng.integers(1, min(self._settings.max_stride, longest) + 1))
        if rng.random() < self._settings.slow:
            stride = 1
        reach = stride * (num_frames - 1)
        first = int(rng.integers(0, max(1, len(labelled) - reach)))
        picked = np.minimum(first + stride * np.arange(num_frames), len(labelled) - 1)
        if rng.random() < 0.5:
            picked = picked[::-1]
        frames = [videos.frame(sequence, int(labelled[i])) for i in picked]
        boxes = self._crop(rng, frames[0].masks, num_frames)
        mirror = rng.random() < 0.5
        crops = [self._resample(f, box, mirror) for f, box in zip(frames, boxes, strict=True)]
        images = np.stack([image for image, _ in crops])
        masks = np.stack([stack for _, stack in crops], axis=1)
        return Clip(frames[0].name, *self._finish(rng, frames[0].class_names, images, masks))

    def layered(self, rng: np.random.Generator, num_frames: int) -> Clip:
        """Animate a still image: its objects, the background and the camera move."""
        still = self._sources.draw(rng, 1)[0]
        box = self._crop(rng, still.masks, 1)[0]
        image, stack = self._resample(still, box, mirror=rng.random() < 0.5)
        if rng.random() < self._settings.layered.grouped:
            stack = layered.group_touching(rng, stack)
        other = None
        if rng.random() < self._settings.layered.other_background:
            behind = self._sources.draw(rng, 1)[0]
            other, _ = self._resample(behind, self._crop(rng, behind.masks, 1)[0], mirror=False)
        images, masks = layered.animate(
            rng, image, stack, num_frames, self._settings.layered, other=other
        )
        name = f'layered/{still.name}'
        return Clip(name, *self._finish(rng, still.class_names, images, masks))

    def _crop(self, rng: np.random.Generator, masks: np.ndarray, num_frames: int) -> np.ndarray:
        """Return (T, 4) float64 boxes x0, y0, width, height around an object, moving slowly."""
        settings = self._settings
        frame_height, frame_width = masks.shape[1:]
        share, low = rng.uniform(settings.min_crop, 1.0), 0.2
        present = np.flatnonzero(masks.any(axis=(1, 2)))
        if len(present):  # small objects are as likely as large ones
            mask = masks[rng.choice(present)]
            ys, xs = np.nonzero(mask)
            place = rng.integers(len(ys))
            x, y = xs[place], ys[place]
            if rng.random() < settings.zoomed:
                x, y, share = _around(rng, mask)
                low = 0.4
        else:
            x, y = rng.uniform(0, frame_width), rng.uniform(0, frame_height)
        limit = np.log(settings.max_aspect)
        stretch = np.exp(rng.uniform(-limit, limit) / 2)
        height = min(frame_height, share * frame_height / stretch)
        width = min(frame_width, share * frame_width * stretch)
        at = rng.uniform(low, 1.0 - low, 2)
        corner = np.array([x - width * at[0], y - height * at[1]])
        drift = motion.smooth_curve(rng, num_frames, 2) * settings.pan * [width, height]
        drift *= rng.uniform(0.0, 1.0)
        room = [frame_width - width, frame_height - height]
        corners = np.clip(corner + drift, 0, room)
        return np.concatenate([corners, np.tile([width, height], (num_frames, 1))], axis=1)

    def _resample(
        self, source: LabelledImage, box: np.ndarray, mirror: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Crop an image and its masks to a box, and resize them to the size of the clip."""
        x0, y0 = (int(v) for v in np.floor(box[:2]))
        x1, y1 = (int(v) for v in np.ceil(box[:2] + box[2:]))
        size = (self._size, self._size)
        cut = cv2.resize(source.image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
        small = np.zeros((len(source.masks), *size), np.uint8)
        for row, mask in enumerate(source.masks):
            soft = mask[y0:y1, x0:x1].astype(np.float32)
            small[row] = cv2.resize(soft, size, interpolation=cv2.INTER_AREA) >= 0.5
        if mirror:
            cut, small = cut[:, ::-1], small[:, :, ::-1]
        return np.ascontiguousarray(cut), np.ascontiguousarray(small)

    def _finish(
        self,
        rng: np.random.Generator,
        class_names: tuple[str, ...],
        images: np.ndarray,
        masks: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Paste objects of other images, and augment the appearance of the clip."""
        if rng.random() < self._settings.paste:
            pasted = []
            for _ in range(rng.integers(1, self._settings.max_pasted + 1)):
                frames = None
                name = str(rng.choice(class_names)) if class_names else ''
                if name and rng.random() < self._settings.layered.same_class:
                    found = self._sources.draw_of_class(rng, name)
                    frames = None if found is None else [found]
                frames = frames or self._sources.draw(rng, len(images))
                item = layered.make_pasted_object(
                    rng, frames, images, masks, self._settings.layered, class_name=name
                )
                pasted += [] if item is None else [item]
            masks = draw(images, masks, pasted)
        images = photometric.degrade(rng, images, photometric.PhotometricSettings())
        return images, masks


def _around(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float, float]:
    """Return the centre (x, y) of an object and the share of the frame for a crop around it."""
    x, y, width, height = cv2.boundingRect(mask)
    side = max(width / mask.shape[1], height / mask.shape[0])
    context = np.exp(rng.uniform(*np.log(_CONTEXT)))
    return x + width / 2, y + height / 2, float(np.clip(side * context, _LEAST_CROP, 1.0))
