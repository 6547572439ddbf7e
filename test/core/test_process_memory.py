"""The size of the process: it tracks for hours."""

import gc
import statistics

import psutil
import pytest

from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt

pytestmark = pytest.mark.slow
STEP_NS = 33_333_333


def prompts_of(scene, number):
    masks = scene.masks(0)
    return [Prompt(f'disc {disc}', mask=masks[disc]) for disc in range(number)]


def rss_mib():
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def test_memory_does_not_grow_with_time(model, make_scene):
    """From frame 200 to 450, or from there to 700, the process stays the same size.

    A leak shows in both parts; what else the process of the tests frees or keeps, in one.
    """
    scene = make_scene(2)
    frames = [scene.frame(index) for index in range(40)]
    tracker = VideoTracker(model, TrackerSettings(prompt_buffer_s=1.0))
    tracker.step(frames[0])
    tracker.add(prompts_of(scene, 2))
    sizes = {}
    for index in range(1, 701):
        frame = frames[index % len(frames)]
        tracker.step(Frame(frame.rgb, index * STEP_NS))
        if index in (200, 450, 700):
            sizes[index] = rss_mib()
    assert min(sizes[450] - sizes[200], sizes[700] - sizes[450]) < 2, sizes


def test_memory_does_not_grow_with_objects_that_come_and_go(model, make_scene):
    """After two rounds all shapes were seen: four more rounds leave the process at its size."""
    scene = make_scene(4)
    frames = [scene.frame(index) for index in range(2)]
    prompts = prompts_of(scene, 4)
    tracker = VideoTracker(model, TrackerSettings(max_objects=4, prompt_buffer_s=1.0))
    sizes, stamp_ns = [], 0
    for _ in range(6):
        for wanted in (1, 3, 2, 4, 1, 2, 4, 3, 0):  # objects that are live
            for frame in frames:
                stamp_ns += STEP_NS
                tracker.step(Frame(frame.rgb, stamp_ns))
            live = tracker.ids
            tracker.add([prompt for prompt in prompts[:wanted] if prompt.object_id not in live])
            if live[wanted:]:
                tracker.remove(live[wanted:])
            if wanted:
                tracker.refine(prompts[0])
        sizes.append(rss_mib())
    # A leak grows in every round; the heap is extended now and then, by some megabytes.
    assert statistics.median(sizes[-3:]) - sizes[1] < 4, sizes
