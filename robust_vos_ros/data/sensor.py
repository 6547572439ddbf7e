"""Corruptions by camera and transmission: noise, blur, colour, resampling, compression.

Each function maps (image, level, seed, frame) to an image, all (H, W, 3) uint8 RGB. `level` gives
the severity, from 0 (nothing) to 5, of each parameter at this frame.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from robust_vos_ros.data.severity import Level, fourier_mixture

_FRAMES_PER_CYCLE = 96  # of slow changes of direction and colour


def color_jitter(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Change brightness, contrast, saturation and hue over time, each by a slow sum of sines."""
    share = frame / _FRAMES_PER_CYCLE
    drift = [
        np.clip(fourier_mixture(share, seed, name) - 1.0, -1.0, 1.0)
        for name in ('brightness', 'contrast', 'saturation', 'hue')
    ]
    brightness = 1.0 - level('brightness') * (0.05 - 0.09 * drift[0])
    contrast = 1.0 - level('contrast') * (0.07 - 0.08 * drift[1])
    saturation = max(0.0, 1.0 - level('saturation') * (0.08 - 0.18 * drift[2]))
    matrix = hue_rotation(math.radians(14.0 * level('hue') * drift[3])) @ (
        saturation * np.eye(3) + (1.0 - saturation) / 3.0
    )
    levels = (np.arange(256) - 127.5) * contrast + 127.5
    table = np.clip(levels * brightness, 0, 255).astype(np.uint8)
    return cv2.LUT(cv2.transform(image, matrix), table)


def hue_rotation(angle: float) -> np.ndarray:
    """Return the (3, 3) rotation of RGB about the grey axis (Rodrigues), angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    skew = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3.0)
    return cos * np.eye(3) + (1.0 - cos) / 3.0 + sin * skew


def gaussian_noise(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Add white noise of standard deviation 10 grey levels per step of severity."""
    return add_noise(image, 10.0 * level('sigma'), seed, frame)


def add_noise(image: np.ndarray, sigma: float, seed: int, frame: int) -> np.ndarray:
    """Add white noise of a standard deviation in grey levels, clipped to 0 to 255."""
    rng = np.random.default_rng((seed, 11, frame))
    noise = rng.standard_normal(image.shape, np.float32)
    return cv2.addWeighted(image, 1.0, noise, sigma, 0.0, dtype=cv2.CV_8U)


def iso_noise(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Add the noise of a high sensor gain: photon noise that grows with light, colour blotches."""
    rng = np.random.default_rng((seed, 12, frame))
    height, width = image.shape[:2]
    grain = rng.standard_normal((height, width), np.float32)
    levels = np.arange(256, dtype=np.float32) / 255.0
    spread = level('grain') * (3.0 + 7.0 * np.sqrt(levels))
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grain *= cv2.LUT(luma, spread)
    small = (max(1, height // 3), max(1, width // 3), 3)
    blotch = cv2.resize(
        rng.standard_normal(small, np.float32) * np.float32(4.0 * level('color')), (width, height)
    )
    blotch += grain[..., None]
    return cv2.add(image, blotch, dtype=cv2.CV_8U)


def motion_blur(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Blur along a line whose direction and length change smoothly, as by a shaking camera."""
    share = frame / _FRAMES_PER_CYCLE
    angle = math.pi * 2.0 * fourier_mixture(share, seed, 'angle')
    height = image.shape[0]
    reach = (
        level('length')
        * height
        / 110.0
        * (0.6 + 0.4 * fourier_mixture(2.0 * share, seed, 'length'))
    )
    return cv2.filter2D(image, -1, line_kernel(reach, angle), borderType=cv2.BORDER_REFLECT_101)


def line_kernel(length: float, angle: float) -> np.ndarray:
    """Return a (k, k) float32 kernel of sum 1: an antialiased line, length in pixels."""
    half = max(1, math.ceil(length / 2.0))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for step in np.linspace(-length / 2.0, length / 2.0, max(2, 4 * half)):
        x, y = half + step * math.cos(angle), half + step * math.sin(angle)
        x0, y0 = math.floor(x), math.floor(y)
        for px, py in ((x0, y0), (x0 + 1, y0), (x0, y0 + 1), (x0 + 1, y0 + 1)):
            weight = (1.0 - abs(x - px)) * (1.0 - abs(y - py))
            if weight > 0.0 and 0 <= px < len(kernel) and 0 <= py < len(kernel):
                kernel[py, px] += weight
    return kernel / kernel.sum()


def resampling_blur(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Shrink and enlarge the image, as a transmission at low resolution does."""
    del seed, frame
    height, width = image.shape[:2]
    factor = 1.0 + 1.4 * level('factor')
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))


def defocus(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Blur by a disk, the image of a point out of focus; its radius varies slowly."""
    factor = 0.8 + 0.2 * fourier_mixture(frame / _FRAMES_PER_CYCLE, seed, 'focus')
    radius = level('radius') * factor * image.shape[0] / 340.0
    half = max(1, math.ceil(radius))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0).astype(np.float32)
    return cv2.filter2D(image, -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT_101)


def jpeg(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Compress to JPEG: quality 40 at severity 1 down to 6 at 5."""
    del seed, frame
    if level('quality') == 0.0:
        return image.copy()
    quality = int(np.interp(level('quality'), (0, 1, 2, 3, 4, 5), (95, 40, 25, 16, 10, 6)))
    return compress_jpeg(image, quality)


def compress_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an (H, W, 3) uint8 RGB image after JPEG compression; the quality is 1 to 100."""
    _, data = cv2.imencode('.jpg', image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def gaussian_blur(image: np.ndarray, size: int) -> np.ndarray:
    """Blur by a Gaussian of size x size pixels, its sigma chosen by OpenCV (YouTube-VOS-P)."""
    return cv2.GaussianBlur(image, (size, size), 0)


def salt_and_pepper(image: np.ndarray, points: int, seed: int, frame: int) -> np.ndarray:
    """Set single pixels to white and black in turn (YouTube-VOS-P)."""
    rng = np.random.default_rng((seed, 13, frame))
    out = image.copy()
    y, x = rng.integers(0, image.shape[0], points), rng.integers(0, image.shape[1], points)
    out[y[::2], x[::2]] = 255
    out[y[1::2], x[1::2]] = 0
    return out
