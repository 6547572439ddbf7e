"""Corrupt a video, a folder of images or a data set on disk; an interrupted run can be resumed.

Results are in OUT/CORRUPTION. A data set keeps its layout: images are written, everything else is
linked. PNG files are exact, JPEG files nearly so (quality 100), videos are compressed.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.data.corruption import Corruption
from robust_vos_ros.data.labels import read_image
from robust_vos_ros.data.layouts import IMAGE_ENDINGS, list_files
from robust_vos_ros.data.severity import Profile, clip_seed
from robust_vos_ros.files import replace_file
from robust_vos_ros.video import VideoFile

VIDEO_ENDINGS = ('.mp4', '.avi', '.mkv', '.mov', '.webm')
_IMAGE_FOLDER = 'JPEGImages'  # names of image folders of data sets begin with this
# Lower quality and subsampled colour would remove noise.
_JPEG_OPTIONS = (
    *(cv2.IMWRITE_JPEG_QUALITY, 100),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_DEFAULT_RATE_HZ = 30.0  # of videos that do not state theirs
_MAX_FRAMES = 10_000_000  # OpenCV returns more if it does not know the number
_SETTINGS_FILE = 'corruption.json'


@dataclasses.dataclass(frozen=True, slots=True)
class CorruptOptions:
    """Corruptions, and their severity over time.

    Attributes:
        corruptions: Names of `corruption.CORRUPTIONS`.
        severity: 0 to 5.
        profile: Severity over time.
        seed: Of the run.
    """

    corruptions: tuple[str, ...]
    severity: float
    profile: str
    seed: int

    def corruption(self, name: str, clip: str, num_frames: int) -> Corruption:
        """Return the corruption of one clip by its name.

        Raises:
            ConfigError: A name is unknown, or the severity is out of range.
        """
        profile = Profile(self.profile, self.severity, num_frames)
        return Corruption(name, profile, clip_seed(clip, self.seed))


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One clip to corrupt.

    Attributes:
        source: Video file or folder of images.
        target: Video file or folder to write.
        name: Of the corruption.
    """

    source: Path
    target: Path
    name: str
    options: CorruptOptions


def plan(source: Path, out: Path, options: CorruptOptions) -> list[Job]:
    """Make the folders and links of the result, and return the clips to corrupt.

    Args:
        source: A video, a folder of images, or a data set with folders named JPEGImages...
        out: Folder of the results, not inside `source`.
        options: The corruptions.

    Raises:
        DatasetError: The source has no images or is no video, or `out` is inside of it.
        ConfigError: A setting is wrong, or other settings were used in `out` before.
    """
    if not source.exists():
        raise DatasetError(f'{source}: expected a video, a folder of images or a data set')
    if out.resolve().is_relative_to(source.resolve()):
        raise DatasetError(f'{out}: expected a folder outside of {source}; name another one')
    jobs = []
    for name in options.corruptions:
        options.corruption(name, '', 1)  # checks the settings
        target = out / name
        if target.resolve() == source.resolve():
            raise DatasetError(f'{target}: expected another folder than the source; name one')
        _keep_settings(target, source, name, options)
        pairs = list(_clips(source, target))
        if not pairs:
            raise DatasetError(
                f'{source}: expected images in it, or folders of images in folders named '
                f'{_IMAGE_FOLDER}..., got neither'
            )
        jobs += [Job(clip, place, name, options) for clip, place in pairs]
    return jobs


def run_jobs(
    jobs: Sequence[Job], *, num_processes: int, on_done: Callable[[], None] = lambda: None
) -> None:
    """Corrupt all clips that are not finished yet.

    Raises:
        DatasetError: A clip cannot be read; raised after the others are finished.
    """
    problems = []
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(num_processes, context) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run_job, j) for j in jobs]):
            try:
                future.result()
            except DatasetError as error:
                problems.append(error)
            on_done()
    if problems:
        raise problems[0]


def run_job(job: Job) -> None:
    """Corrupt one clip; frames and videos that exist already are kept.

    Raises:
        DatasetError: The clip cannot be read.
        ConfigError: OpenCV cannot write a video.
    """
    cv2.setNumThreads(1)
    if job.source.is_dir():
        _corrupt_images(job)
    elif not job.target.exists():
        _corrupt_video(job)


def _corrupt_images(job: Job) -> None:
    files = list_files(job.source, IMAGE_ENDINGS)
    corruption = job.options.corruption(job.name, job.source.name, len(files))
    job.target.mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(files.values()):
        target = job.target / path.name
        if not target.exists():
            _write_image(target, corruption.apply(read_image(path), index))


def _write_image(path: Path, rgb: np.ndarray) -> None:
    ending = path.suffix.lower()
    options = () if ending == '.png' else _JPEG_OPTIONS
    _, data = cv2.imencode(ending, rgb[..., ::-1], options)
    replace_file(path, lambda new: new.write_bytes(data.tobytes()))


def _corrupt_video(job: Job) -> None:
    capture = cv2.VideoCapture(str(job.source))
    ok, bgr = capture.read()
    if not ok:
        raise DatasetError(f'{job.source}: expected a video that OpenCV can read, got no frame')
    rate = capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_RATE_HZ
    corruption = job.options.corruption(job.name, job.source.stem, _count_frames(job.source))

    def write(path: Path) -> None:
        nonlocal ok, bgr
        index = 0
        with VideoFile(path, bgr.shape[1::-1], rate) as video:
            while ok:
                rgb = np.ascontiguousarray(bgr[..., ::-1])
                video.write(np.ascontiguousarray(corruption.apply(rgb, index)[..., ::-1]))
                index += 1
                ok, bgr = capture.read()

    replace_file(job.target, write)
    capture.release()


def _count_frames(path: Path) -> int:
    """Return the number of frames of a video, at least 1; count them if OpenCV does not know."""
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not 0 < count < _MAX_FRAMES:
        count = 0
        while capture.grab():
            count += 1
    capture.release()
    return max(1, count)


def _clips(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each clip with its path in the result; link all other files."""
    if source.is_file():
        if source.suffix.lower() not in VIDEO_ENDINGS:
            raise DatasetError(
                f'{source}: expected a video ({", ".join(VIDEO_ENDINGS)}) or a folder'
            )
        yield source, target / f'{source.stem}.mp4'
    elif list_files(source, IMAGE_ENDINGS):
        yield source, target
    else:
        yield from _clips_of_dataset(source, target)


def _clips_of_dataset(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and entry.name.startswith(_IMAGE_FOLDER):
            for folder in sorted({path.parent for path in _images_below(entry)}):
                yield folder, place / folder.relative_to(entry)
        elif entry.is_dir() and any(entry.glob(f'{_IMAGE_FOLDER}*')):
            place.mkdir(parents=True, exist_ok=True)
            yield from _clips_of_dataset(entry, place)
        elif not place.is_symlink() and entry.name != _SETTINGS_FILE:
            place.symlink_to(os.path.relpath(entry.resolve(), place.parent.resolve()))


def _images_below(folder: Path) -> Iterator[Path]:
    return (
        path
        for path in folder.rglob('*')
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith('.')
    )


def _keep_settings(target: Path, source: Path, name: str, options: CorruptOptions) -> None:
    """Write the settings of a result, or check that they are those of the run before."""
    settings = {
        'source': source.resolve().name,
        'corruption': name,
        'severity': options.severity,
        'profile': options.profile,
        'seed': options.seed,
    }
    target.mkdir(parents=True, exist_ok=True)
    path = target / _SETTINGS_FILE
    text = json.dumps(settings, indent=1) + '\n'
    if not path.exists():
        path.write_text(text, encoding='utf-8')
    elif path.read_text(encoding='utf-8') != text:
        raise ConfigError(
            f'{target}: expected the settings {json.dumps(settings)}, got others in {path}; '
            'name another folder or remove this one'
        )
