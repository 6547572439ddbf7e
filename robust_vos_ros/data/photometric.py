"""Photometric augmentation, coherent over a clip: light, colour, blur, noise, compression."""

from __future__ import annotations

import math

import cv2
import numpy as np

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data.motion import smooth_curve
from robust_vos_ros.data.sensor import compress_jpeg


class PhotometricSettings(Settings):
    """How often and how much the appearance of a clip is changed."""

    tone_probability: float = setting(
        0.7, 'Share of clips whose brightness, contrast and gamma are changed.', ge=0.0, le=1.0
    )
    tone_strength: float = setting(
        0.25, 'Largest relative change of brightness, contrast and gamma.', ge=0.0, le=0.9
    )
    color_probability: float = setting(
        0.5, 'Share of clips whose saturation and hue are changed.', ge=0.0, le=1.0
    )
    saturation_strength: float = setting(
        0.6, 'Largest relative change of the saturation.', ge=0.0, le=1.0
    )
    hue_deg: float = setting(20.0, 'Largest rotation of the hue.', unit='deg', ge=0.0, le=180.0)
    drift_probability: float = setting(
        0.4, 'Share of clips whose brightness drifts from frame to frame.', ge=0.0, le=1.0
    )
    drift_strength: float = setting(
        0.3, 'Largest relative change of brightness within a clip.', ge=0.0, le=0.9
    )
    shadow_probability: float = setting(
        0.15, 'Share of clips with a soft shadow that moves.', ge=0.0, le=1.0
    )
    blur_probability: float = setting(
        0.25, 'Share of clips that are out of focus or blurred by motion.', ge=0.0, le=1.0
    )
    blur_px: float = setting(2.0, 'Largest blur, at a height of 256.', unit='px', ge=0.1, le=10.0)
    noise_probability: float = setting(0.35, 'Share of clips with sensor noise.', ge=0.0, le=1.0)
    noise_level: float = setting(
        12.0, 'Largest standard deviation of the noise, of 255 levels.', ge=0.0, le=64.0
    )
    jpeg_probability: float = setting(
        0.25, 'Share of clips compressed as JPEG, quality 30 to 95.', ge=0.0, le=1.0
    )


def _tones(
    rng: np.random.Generator, num_frames: int, settings: PhotometricSettings
) -> np.ndarray | None:
    """Draw (T, 256) uint8 tables of brightness, contrast, gamma and drift; None = no change."""
    toned = rng.random() < settings.tone_probability
    drifting = rng.random() < settings.drift_probability
    if not (toned or drifting):
        return None
    level = np.linspace(0.0, 1.0, 256)[None]
    if toned:
        brightness, contrast, gamma = rng.uniform(-1.0, 1.0, 3) * settings.tone_strength
        level = level ** math.exp(gamma)
        level = (level - 0.5) * (1.0 + contrast) + 0.5 + 0.5 * brightness
    if drifting:
        reach = rng.uniform(0.0, settings.drift_strength)
        level = level * (1.0 + reach * smooth_curve(rng, num_frames))
    tables = np.clip(level * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return np.broadcast_to(tables, (num_frames, 256))


def _color_matrix(rng: np.random.Generator, settings: PhotometricSettings) -> np.ndarray | None:
    """Draw a (3, 3) matrix of RGB that rotates the hue, scales the saturation; None = no change.

    A rotation about the grey axis by Rodrigues' formula; greys stay as they are.
    """
    if rng.random() >= settings.color_probability:
        return None
    angle = math.radians(rng.uniform(-1.0, 1.0) * settings.hue_deg)
    saturation = 1.0 + rng.uniform(-1.0, 1.0) * settings.saturation_strength
    grey = np.full((3, 3), 1.0 / 3.0)
    cross = np.array([(0.0, -1.0, 1.0), (1.0, 0.0, -1.0), (-1.0, 1.0, 0.0)]) / math.sqrt(3.0)
    turn = math.cos(angle) * (np.eye(3) - grey) + math.sin(angle) * cross
    return grey + saturation * turn


def _blur_kernel(
    rng: np.random.Generator, height: int, settings: PhotometricSettings
) -> np.ndarray | None:
    """Draw a (k, k) float32 kernel of sum 1, a Gaussian or a line; None = no blur."""
    if rng.random() >= settings.blur_probability:
        return None
    reach = rng.uniform(0.3, 1.0) * settings.blur_px * height / 256
    half = max(1, math.ceil(2.0 * reach))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    if rng.random() < 0.5:
        kernel[half, half] = 1.0
        kernel = cv2.GaussianBlur(kernel, kernel.shape, reach, borderType=cv2.BORDER_CONSTANT)
    else:
        angle = rng.uniform(0.0, math.pi)
        step = np.array([math.cos(angle), math.sin(angle)]) * reach * 2.0
        ends = np.rint((half + np.stack([-step, step])) * 16).astype(int)
        cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()


def _shadows(
    rng: np.random.Generator, num_frames: int, size_hw: tuple[int, int]
) -> list[np.ndarray]:
    """Draw T soft shadows that slide over the image: (H, W, 3) uint8, 255 = full light."""
    height, width = size_hw
    grid = cv2.resize(rng.random((6, 6), np.float32), (96, 96), interpolation=cv2.INTER_CUBIC)
    light = np.clip((grid - rng.uniform(0.3, 0.6)) * rng.uniform(3.0, 8.0), 0.0, 1.0)
    light = 255.0 * (1.0 - rng.uniform(0.2, 0.7) * (1.0 - light))
    offsets = smooth_curve(rng, num_frames, 2) * rng.uniform(0.0, 30.0)
    shadows = []
    for x, y in 16.0 - offsets / 2:
        matrix = np.array([(64 / width, 0.0, x), (0.0, 64 / height, y)])
        view = cv2.warpAffine(
            light.astype(np.uint8),
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        shadows.append(cv2.merge([view, view, view]))
    return shadows


class _Noise:
    """Sensor noise: each frame and channel shows another window into one random field."""

    def __init__(self, rng: np.random.Generator, size_hw: tuple[int, int], level: float) -> None:
        self._rng = rng
        self._size_hw = size_hw
        height, width = size_hw
        noise = rng.standard_normal((height + 32, width + 32), np.float32) * np.float32(level)
        self._field = np.rint(noise).astype(np.int16)
        self._grey = rng.random() < 0.3

    def add(self, image: np.ndarray) -> np.ndarray:
        """Return (H, W, 3) uint8, the image with new noise."""
        height, width = self._size_hw
        windows = [
            self._field[top : top + height, left : left + width]
            for top, left in self._rng.integers(0, 33, (3, 2))
        ]
        noise = cv2.merge(windows[:1] * 3 if self._grey else windows)
        return cv2.add(image, noise, dtype=cv2.CV_8U)


def degrade(
    rng: np.random.Generator, images: np.ndarray, settings: PhotometricSettings
) -> np.ndarray:
    """Change the appearance of a clip as light, lens, sensor and encoder do.

    Args:
        rng: Source of randomness.
        images: (T, H, W, 3) uint8, RGB; not changed.
        settings: How often and how much.

    Returns:
        (T, H, W, 3) uint8, RGB.

    Raises:
        ValueError: `images` is not (T, H, W, 3) uint8.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f'images: expected (T, H, W, 3) uint8, got {images.shape} {images.dtype}')
    num_frames, height, width = images.shape[:3]
    matrix = _color_matrix(rng, settings)
    tables = _tones(rng, num_frames, settings)
    shadowed = rng.random() < settings.shadow_probability
    shadows = _shadows(rng, num_frames, (height, width)) if shadowed else None
    kernel = _blur_kernel(rng, height, settings)
    noise = None
    if rng.random() < settings.noise_probability:
        noise = _Noise(rng, (height, width), rng.uniform(0.15, 1.0) * settings.noise_level)
    quality = int(rng.integers(30, 96)) if rng.random() < settings.jpeg_probability else None

    result = np.empty_like(images)
    for index, image in enumerate(images):
        frame = image
        if matrix is not None:
            frame = cv2.transform(frame, matrix)
        if tables is not None:
            frame = cv2.LUT(frame, tables[index])
        if shadows is not None:
            frame = cv2.multiply(frame, shadows[index], scale=1.0 / 255.0)
        if kernel is not None:
            frame = cv2.filter2D(frame, -1, kernel)
        if noise is not None:
            frame = noise.add(frame)
        if quality is not None:
            frame = compress_jpeg(frame, quality)
        result[index] = frame
    return result
