"""The demo: node and camera as two processes, a client of both, and a report of the results."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import rclpy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from rich.console import Console

from robust_vos_ros.bags.reader import COMPRESSED_IMAGE, RawMessage
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model_files import find_adapter
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.demo.camera import FRAME_ID, to_compressed_image
from robust_vos_ros.demo.clip import Clip, generated_clip, video_clip
from robust_vos_ros.demo.comparison import write_side_by_side
from robust_vos_ros.demo.depth_feed import DEPTH_TOPIC
from robust_vos_ros.demo.operator import IMAGE_TOPIC, Operator, to_header
from robust_vos_ros.demo.options import DemoOptions, parse_box, parse_clicks
from robust_vos_ros.demo.pictures import make_contact_sheet, write_video
from robust_vos_ros.demo.position_report import make_position_table, score_positions
from robust_vos_ros.demo.processes import ChildProcess, Deadline, find_free_domain
from robust_vos_ros.demo.records import Recording
from robust_vos_ros.demo.report import Summary, make_tables, summarize
from robust_vos_ros.demo.transport import make_room_for_images
from robust_vos_ros.files import write_json
from robust_vos_ros.live.interrupts import Interrupts

_START_TIMEOUT_S = 120.0  # loading and warm-up of a large model on a slow machine
_FIRST_FRAME_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 60.0
_INTERRUPTED = 130
_FILES = (
    'demo.mp4', 'contact_sheet.png', 'summary.json', 'positions.json', 'node.log', 'camera.log',
)  # fmt: skip


def run_demo(options: DemoOptions) -> int:
    """Run the demo and print the results; return the exit code.

    Raises:
        RobustVosError: An option is wrong, or the run could not be finished.
    """
    console = Console(soft_wrap=True)
    clip = open_clip(options)
    try:
        if options.weather != 'none':
            _run_in_weather(options, clip, console)
            return 0
        recording, summary = _run_once(options, clip, console)
    except KeyboardInterrupt:
        console.print('interrupted; node and camera are stopped')
        return _INTERRUPTED
    if summary.failure:
        console.print(f'[red]failed:[/red] {summary.failure}')
        return 1
    return _report_positions(options, clip, recording, console) if options.depth else 0


def _report_positions(
    options: DemoOptions, clip: Clip, recording: Recording, console: Console
) -> int:
    """Print and write the errors of positions; return the exit code."""
    scores = score_positions(recording, clip)
    console.print(make_position_table(scores))
    write_json(options.out / 'positions.json', [dataclasses.asdict(item) for item in scores])
    failures = [item.failure for item in scores if item.failure]
    for failure in failures or ([] if scores else ['no object was located']):
        console.print(f'[red]failed:[/red] {failure}')
    return 1 if failures or not scores else 0


def _run_once(options: DemoOptions, clip: Clip, console: Console) -> tuple[Recording, Summary]:
    """Record one run, write its results and print its tables."""
    prepare_folder(options.out)
    with Interrupts() as interrupts:
        recording = _record(options, clip, console, interrupts)
    summary = summarize(recording, clip)
    write_results(options, clip, recording, summary)
    for table in make_tables(summary):
        console.print(table)
    console.print(f'demo.mp4, contact_sheet.png, demo_bag and summary.json are in {options.out}')
    return recording, summary


def _run_in_weather(options: DemoOptions, clip: Clip, console: Console) -> None:
    """Run without and with the adapter under the same corruption, and show both side by side."""
    recordings = {}
    runs = {'without adapter': 'none'}
    if find_adapter(ModelSettings(name=options.model, adapter=options.adapter)) is not None:
        runs['with adapter'] = options.adapter
    else:
        console.print(f'{options.model} has no adapter of its own; pass --adapter to compare one')
    for name, adapter in runs.items():
        console.print(f'[bold]{options.weather} {options.severity:g}, {name}[/bold]')
        folder = options.out / name.replace(' ', '_')
        run = dataclasses.replace(options, adapter=adapter, out=folder)
        recordings[name] = _run_once(run, clip, console)[0]
    write_side_by_side(options.out, recordings, rate_hz=options.rate_hz)
    console.print(f'side_by_side.mp4 and side_by_side.png are in {options.out}')


def open_clip(options: DemoOptions) -> Clip:
    """Return the clip to play, with its prompts.

    Raises:
        ConfigError: An option is wrong.
    """
    if options.rate_hz <= 0 or options.max_frames < 2:
        raise ConfigError(
            f'expected a rate above 0 and at least 2 frames, got {options.rate_hz:g} Hz and '
            f'{options.max_frames} frames'
        )
    if options.video is None:
        if options.box or options.clicks:
            raise ConfigError('--box and --clicks point at objects of a video; pass --video too')
        return generated_clip(options.max_frames, depth=options.depth)
    if options.depth:
        raise ConfigError('only the generated clip has depth; leave --depth or --video out')
    if not options.box and not options.clicks:
        raise ConfigError(
            f'say what to track in the first frame of {options.video}: pass '
            '--box x0,y0,x1,y1 (pixels) around an object, or --clicks "x,y;x,y" on one'
        )
    return video_clip(
        options.video,
        box=parse_box(options.box) if options.box else None,
        clicks=parse_clicks(options.clicks) if options.clicks else (),
        rate_hz=options.rate_hz,
        max_frames=options.max_frames,
    )


def prepare_folder(out: Path) -> None:
    """Create the folder for the results, and remove the results of an earlier run.

    Raises:
        ConfigError: It cannot be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (out / name).unlink(missing_ok=True)
        if (out / 'demo_bag').is_dir():
            shutil.rmtree(out / 'demo_bag')
    except OSError as error:
        raise ConfigError(
            f'cannot write to {out}: {error.strerror}; pass another --out'
        ) from error


@contextlib.contextmanager
def _ros_context(out: Path) -> Iterator[rclpy.Context]:
    """Yield a ROS context in a free domain, which child processes inherit."""
    if 'ROS_DOMAIN_ID' not in os.environ:
        os.environ['ROS_DOMAIN_ID'] = str(find_free_domain(random.Random()))  # noqa: S311
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    make_room_for_images(out / 'fastdds.xml')
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield context
    finally:
        rclpy.try_shutdown(context=context)


def _record(
    options: DemoOptions, clip: Clip, console: Console, interrupts: Interrupts
) -> Recording:
    """Start node and camera, prompt the objects, play the clip, and stop everything."""
    playing_s = 2.0 * options.max_frames / options.rate_hz + _END_TIMEOUT_S
    deadline = Deadline(_START_TIMEOUT_S + 2 * _FIRST_FRAME_TIMEOUT_S + playing_s)
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(_ros_context(options.out))
        out, domain = options.out, os.environ['ROS_DOMAIN_ID']
        console.print(f'starting node and camera in ROS domain {domain}, logs in {out}')
        children = [
            stack.enter_context(child) for child in (_make_node(options), _make_camera(options))
        ]

        def check() -> None:
            interrupts.check()
            deadline.check()
            for child in children:
                child.check()

        operator = Operator(context, compressed=options.compressed, check=check)
        stack.callback(operator.close)
        operator.wait_for_node(_START_TIMEOUT_S)
        stamp_ns = operator.show_first_frame(_FIRST_FRAME_TIMEOUT_S)
        operator.add_objects(clip.prompts, stamp_ns, clip.size_hw)
        if options.depth:
            operator.follow_positions(clip.prompts)
        names = ', '.join(prompt.object_id for prompt in clip.prompts)
        console.print(f'tracking {names}; playing {clip.name} at {options.rate_hz:g} Hz')
        return operator.play(playing_s)


def _make_node(options: DemoOptions) -> ChildProcess:
    transport = 'compressed' if options.compressed else 'raw'
    arguments = ['--ros-args', '-r', f'image:={IMAGE_TOPIC}', '-p', f'model.name:={options.model}']
    arguments += ['-r', f'image/compressed:={IMAGE_TOPIC}/compressed']
    arguments += ['-p', f'input.transport:={transport}']
    arguments += ['-p', f'model.adapter:={options.adapter}']
    arguments += ['-p', f'debug.corruption:={options.weather}']
    arguments += ['-p', f'debug.severity:={options.severity:.3f}']
    if options.depth:
        arguments += ['-r', f'depth:={DEPTH_TOPIC}']
        arguments += ['-p', 'spatial.enabled:=true', '-p', 'spatial.poses:=always']
    module = 'robust_vos_ros.node_program'
    return ChildProcess('node', module, arguments, options.out / 'node.log')


def _make_camera(options: DemoOptions) -> ChildProcess:
    arguments = ['--topic', IMAGE_TOPIC, '--rate', str(options.rate_hz)]
    arguments += ['--max-frames', str(options.max_frames)]
    arguments += ['--video', str(options.video)] if options.video else []
    arguments += ['--compressed'] if options.compressed else []
    arguments += ['--depth'] if options.depth else []
    module = 'robust_vos_ros.demo.camera'
    return ChildProcess('camera', module, arguments, options.out / 'camera.log')


def write_results(
    options: DemoOptions, clip: Clip, recording: Recording, summary: Summary
) -> None:
    """Write video, contact sheet, bag and scores to the folder for the results."""
    out, frames = options.out, recording.frames
    num_sent = len(recording.sent_ns)
    if any(frame.overlay_jpeg for frame in frames):
        write_video(out / 'demo.mp4', frames, num_sent=num_sent, rate_hz=options.rate_hz)
        sheet = make_contact_sheet(frames, summary.hidden)
        cv2.imwrite(str(out / 'contact_sheet.png'), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_bag(out / 'demo_bag', clip, recording)
    numbers = {**dataclasses.asdict(summary), 'failure': summary.failure}
    write_json(out / 'summary.json', numbers)


def write_bag(path: Path, clip: Clip, recording: Recording) -> None:
    """Write the images of the camera and the results of the node, in order of time."""
    messages = iter(recording.messages)
    waiting: RawMessage | None = next(messages, None)
    with BagWriter(path) as bag:
        for stamp_ns, frame in zip(recording.sent_ns, clip.frames(), strict=False):
            image = to_compressed_image(frame.rgb, to_header(stamp_ns, FRAME_ID))
            cdr = serialize_message(image)
            bag.write(f'{IMAGE_TOPIC}/compressed', COMPRESSED_IMAGE, cdr, stamp_ns)
            while waiting is not None and waiting.stamp_ns <= stamp_ns:
                bag.write(waiting.topic, waiting.msgtype, waiting.cdr, waiting.stamp_ns)
                waiting = next(messages, None)
