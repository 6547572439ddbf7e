"""Speed of the engine beside that of `SAM2VideoPredictor`, the predictor of the sam2 package.

Both get the same weights, frames, masks, precision and threads, and take turns frame by frame in
one process, so that other load on the machine meets both. What the predictor does not have is
switched off in `plain`: previous mask, object calibration, adapter and all rules of tracking.

The comparison favours the predictor where it cannot be even: its frames are resized and normalized
before the clock starts, and the process keeps freed memory (`keep_freed_memory`), which the engine
sets up and the predictor does not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.core.zoom.window import make_record

PREDICTOR = 'sam2.sam2_video_predictor.SAM2VideoPredictor'
PEER = 'SAM2VideoPredictor'


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Speed of one runner at one number of objects.

    Attributes:
        objects: Number of tracked objects.
        runner: `SAM2VideoPredictor`; `plain`, the engine with its network and rules; `default`,
            with the default settings; `shipped`, with the model's own additions as well.
        median_ms: Median time of a frame.
        fastest_ms: Shortest time of a frame.
        cpu_ms: Median time that the threads of the process spent on a frame; with one thread, it
            does not depend on other load.
        ratio: Median over the frames of the time divided by that of the predictor for the frame.
        cpu_ratio: The same for `cpu_ms`.
    """

    objects: int
    runner: str
    median_ms: float
    fastest_ms: float
    cpu_ms: float
    ratio: float
    cpu_ratio: float


class Peer:
    """The predictor with the weights of a model.

    Args:
        settings: Name, checkpoint, device and precision of the model.
        model: The same model, loaded.
    """

    def __init__(self, settings: ModelSettings, model: Model) -> None:
        spec = model_files.load_spec(settings.name)
        state = checkpoints.read_state_dict(model_files.find_weights(spec, settings.checkpoint))
        spec = checkpoints.without_untrained(spec, state)
        net = checkpoints.build_network(spec, target=PREDICTOR)
        net.load_state_dict(state)
        self._net = net.eval().to(model.device)
        self._device, self._bf16 = model.device, model.precision == 'bf16'

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Return the context of a whole run, in which autocast converts each weight once."""
        with torch.autocast(self._device.type, torch.bfloat16, self._bf16):
            yield

    def start(self, frames: Sequence[Frame], prompts: Sequence[Prompt]) -> Callable[[Frame], Any]:
        """Prompt masks on the first frame; returns a function that tracks the next one."""
        net = self._net
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            # The predictor reads a folder of JPEG files; it gets the exact pixels below.
            cv2.imwrite(f'{folder}/00000.jpg', frames[0].rgb)
            state = net.init_state(folder)
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in (_MEAN, _STD))
            images = [make_record(f, net.image_size, 0).image.permute(2, 0, 1) for f in frames]
            state['images'] = [(image / 255.0 - mean) / std for image in images]
            state['num_frames'], state['cached_features'] = len(frames), {}
            for index, prompt in enumerate(prompts):
                net.add_new_mask(state, 0, index, torch.from_numpy(prompt.mask))
            steps = net.propagate_in_video(state)
            next(steps)  # its progress bar stays on the replaced stderr
        return lambda _frame: next(steps)


# Of ImageNet, RGB, for images in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Contest:
    """The predictor and the engine with one set of weights.

    Args:
        settings: Name, checkpoint, device and precision of the model.
    """

    def __init__(self, settings: ModelSettings) -> None:
        bare = settings.model_copy(update={'adapter': 'none'})
        self.model = checkpoints.load_model(bare)
        self.model.previous_mask, self.model.object_calibration = False, None
        self._peer = Peer(settings, self.model)
        shipped = checkpoints.load_model(settings)
        more = shipped.previous_mask or shipped.object_calibration or shipped.adapter
        self._engines = {
            'plain': (self.model, TrackerSettings.plain()),
            'default': (self.model, TrackerSettings()),
            **({'shipped': (shipped, TrackerSettings())} if more else {}),
        }

    def _start_engine(
        self, model: Model, settings: TrackerSettings, first: Frame, prompts: Sequence[Prompt]
    ) -> Callable[[Frame], Any]:
        """Prompt masks on the first frame; returns a function that tracks a next frame."""
        tracker = VideoTracker(model, settings)
        tracker.step(first)

        def step(frame: Frame) -> None:
            with torch.autocast(model.device.type, enabled=False):  # the engine opens its own
                tracker.step(frame)

        with torch.autocast(model.device.type, enabled=False):
            tracker.add(prompts)
        return step

    def measure(
        self,
        frames: Sequence[Frame],
        prompts: Sequence[Prompt],
        *,
        warm_up: int,
        on_frame: Callable[[], None] = lambda: None,
    ) -> list[Comparison]:
        """Track prompts of the first frame with all runners, in turns.

        Args:
            frames: The prompted frame, `warm_up` frames and the measured ones.
            prompts: Masks, one per object.
            warm_up: Frames that are not measured; memories fill up in them.
            on_frame: Called after every frame, for a progress bar.
        """
        with self._peer.precision():
            track = self._peer.start(frames, prompts)
            runners: dict[str, Callable[[Frame], Any]] = {PEER: track}
            for name, (model, settings) in self._engines.items():
                sized = settings.model_copy(update={'max_objects': max(16, len(prompts))})
                runners[name] = self._start_engine(model, sized, frames[0], prompts)
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
            for frame in frames[1:]:
                for name, run in runners.items():
                    start_s, start_cpu_s = time.perf_counter(), time.process_time()
                    run(frame)
                    passed = time.perf_counter() - start_s, time.process_time() - start_cpu_s
                    times[name].append(passed)
                on_frame()
        measured = {name: 1e3 * np.array(pairs[warm_up:]) for name, pairs in times.items()}
        return [
            _compare(len(prompts), name, times_ms, measured[PEER])
            for name, times_ms in measured.items()
        ]


def _compare(count: int, name: str, times_ms: np.ndarray, peer_ms: np.ndarray) -> Comparison:
    """Summarize (frames, 2) times of a runner, by the clock and of the processor."""
    median_ms, cpu_ms = np.median(times_ms, axis=0)
    ratio, cpu_ratio = np.median(times_ms / peer_ms, axis=0)
    return Comparison(
        objects=count,
        runner=name,
        median_ms=round(float(median_ms), 2),
        fastest_ms=round(float(times_ms[:, 0].min()), 2),
        cpu_ms=round(float(cpu_ms), 2),
        ratio=round(float(ratio), 3),
        cpu_ratio=round(float(cpu_ratio), 3),
    )
