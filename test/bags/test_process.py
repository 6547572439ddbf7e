"""Offline processing: all frames, the same bytes twice and after kill -9, any kind of bag."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.journal import Journal
from robust_vos_ros.bags.labelled import labelled_frames
from robust_vos_ros.bags.process import process_bag
from robust_vos_ros.bags.reader import BagReader, header_stamp_ns
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.core.errors import BagError, ConfigError, PromptError

RESULTS = ResultTopics('/robust_vos')


def make_job(helpers, source, target, prompts, **fields):
    return Job(source=source, target=target, prompts=prompts, model=helpers.SETTINGS, **fields)


def messages_of(path):
    with BagReader(path) as bag:
        return list(bag.messages())


def results_of(path):
    """Serialized results without the objects' uuids, which another bag changes."""
    with BagReader(path) as bag:
        return [
            (f.index, f.stamp_ns, f.objects, f.labels.tobytes())
            for f in labelled_frames(bag, image_topic(bag), RESULTS)
        ]


def image_topic(bag):
    return RESULTS.find_images(bag, '', required=True)


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def test_the_bag_with_its_results(helpers, model, mcap_bag, prompt_file, tmp_path: Path):
    target = tmp_path / 'out' / 'masks.mcap'
    seen = []
    summary = process_bag(
        make_job(helpers, mcap_bag, target, prompt_file), model, on_frame=lambda: seen.append(1)
    )
    assert (summary.num_frames, len(seen), summary.problems) == (10, 10, [])
    assert not (tmp_path / 'out' / 'masks.mcap.partial').exists()
    written = messages_of(target)
    inputs = [m for m in written if not m.topic.startswith(RESULTS.prefix)]
    assert inputs == messages_of(mcap_bag)
    images = [m for m in inputs if m.topic == helpers.RAW_TOPIC]
    for topic in (RESULTS.objects, RESULTS.label_png):
        results = [m for m in written if m.topic == topic]
        assert [m.stamp_ns for m in results] == [m.stamp_ns for m in images]
        assert [header_stamp_ns(m.cdr) for m in results] == [
            header_stamp_ns(m.cdr) for m in images
        ]
    with BagReader(target) as bag:
        events = [bag.decode(m) for m in bag.messages([RESULTS.events])]
        frames = list(labelled_frames(bag, helpers.RAW_TOPIC, RESULTS))
        first = bag.decode(next(bag.messages([RESULTS.objects])))
    assert [event.type for event in events] == [events[0].ADDED, events[0].CONFIRMED]
    assert first.header.frame_id == 'camera'
    assert (first.latency.nanosec, first.engine_time.nanosec, first.frames_dropped) == (0, 0, 0)
    for index, frame in enumerate(frames):
        truth = np.zeros(helpers.SIZE_HW, bool)
        truth[30:70, 20 + 4 * index : 60 + 4 * index] = True
        assert iou(frame.labels == 1, truth) > 0.8


def test_the_same_bytes_twice(
    helpers, model, mcap_bag, labelled_bag, long_prompts, tmp_path: Path
):
    """Also from a copy elsewhere, and to a folder of another name."""
    shutil.copytree(mcap_bag, tmp_path / 'copy')
    job = make_job(helpers, tmp_path / 'copy', tmp_path / 'masks', long_prompts)
    process_bag(job, model)
    assert (job.target / 'bag.mcap').read_bytes() == labelled_bag.read_bytes()
    with BagReader(job.target) as bag:  # a folder of rosbag2 with its metadata
        assert bag.num_messages == len(messages_of(labelled_bag))


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.process import process_bag
from robust_vos_ros.core.network.checkpoints import load_model
torch.set_num_threads(1)
job = Job.model_validate_json(sys.argv[1])
left = [8]
def kill():
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
process_bag(job, load_model(job.model), on_frame=kill, checkpoint_frames=3)
"""


def test_killed_and_resumed_gives_the_same_bytes(
    helpers, model, mcap_bag, labelled_bag, long_prompts, tmp_path: Path
):
    job = make_job(helpers, mcap_bag, tmp_path / 'masks.mcap', long_prompts)
    killed = subprocess.run([sys.executable, '-c', KILLED, job.model_dump_json()], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not job.target.exists()
    resumed = []
    summary = process_bag(
        job, model, on_start=lambda total, done: resumed.append((total, done)), checkpoint_frames=3
    )
    # Frames 0 to 2 are certain, 3 to 5 if the writer had come so far.
    assert resumed[0] in {(10, 3), (10, 6)}
    assert summary.num_resumed == resumed[0][1]
    assert job.target.read_bytes() == labelled_bag.read_bytes()


def test_other_prompts_do_not_resume(helpers, model, mcap_bag, prompt_file, tmp_path: Path):
    job = make_job(helpers, mcap_bag, tmp_path / 'masks.mcap', prompt_file)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_bag(job, model, on_frame=interrupt, checkpoint_frames=1)
    prompt_file.write_text(prompt_file.read_text().replace('toy', 'box'))
    assert process_bag(job, model).num_resumed == 0


@pytest.mark.parametrize('method', ['range', 'percentiles'])
def test_16_bit_images_are_scaled_as_the_prompt_file_says(
    helpers, model, pictures, prompt_file, tmp_path: Path, method
):
    """As of a thermal camera: all values lie within one step of the upper byte."""
    thermal = [16_640 + 2 * rgb[..., 0].astype(np.uint16) // 4 for rgb in pictures[:4]]
    source = helpers.write_ros2(tmp_path / 'thermal', thermal)
    scale = 'scale_16bit: {method: ' + method + ', low: 16640, high: 16767}\n'
    prompt_file.write_text(prompt_file.read_text() + scale)
    process_bag(make_job(helpers, source, tmp_path / 'masks.mcap', prompt_file), model)
    with BagReader(tmp_path / 'masks.mcap') as bag:
        last = list(labelled_frames(bag, image_topic(bag), RESULTS))[-1]
        assert np.ptp(bag.frame(last.image).rgb) == 0  # without scaling there is nothing to see
    square = np.zeros(helpers.SIZE_HW, bool)
    square[30:70, 32:72] = True
    assert iou(last.labels > 0, square) > 0.8


def write_split(helpers, folder, pictures):
    """Tracks go on from the first file to the second."""
    folder.mkdir()
    helpers.write_ros1(folder / 'drive_0.bag', pictures[:6])
    helpers.write_ros1(folder / 'drive_1.bag', pictures, first=6)
    return folder


KINDS = {
    'sqlite3': lambda h, path, pictures: h.write_ros2(
        path, pictures, storage=StoragePlugin.SQLITE3
    ),
    'ros 1': lambda h, path, pictures: h.write_ros1(path.with_suffix('.bag'), pictures),
    'ros 1 split': write_split,
}


@pytest.mark.parametrize('kind', KINDS)
def test_any_kind_of_bag(
    kind, helpers, model, pictures, labelled_bag, long_prompts, tmp_path: Path
):
    source = KINDS[kind](helpers, tmp_path / 'other', pictures)
    target = tmp_path / 'other_masks.mcap'
    process_bag(make_job(helpers, source, target, long_prompts), model)
    assert results_of(target) == results_of(labelled_bag)


def test_new_results_replace_those_of_the_input(
    helpers, model, labelled_bag, prompt_file, tmp_path: Path
):
    again = tmp_path / 'again.mcap'
    summary = process_bag(make_job(helpers, labelled_bag, again, prompt_file), model)
    assert set(summary.left_out) == set(RESULTS.types)
    with BagReader(again) as bag:
        assert bag.topics[RESULTS.objects].num_messages == 10
        names = {o.object_id for f in labelled_frames(bag, helpers.RAW_TOPIC, RESULTS)
                 for o in f.objects}  # fmt: skip
    assert names == {'square'}
    both = tmp_path / 'both.mcap'
    job = make_job(helpers, labelled_bag, both, prompt_file, namespace='/offline',
                   topic=helpers.RAW_TOPIC)  # fmt: skip
    assert not process_bag(job, model).left_out
    with BagReader(both) as bag:
        assert {RESULTS.objects, '/offline/objects'} <= bag.topics.keys()


def test_images_that_cannot_be_used_are_passed_over(
    helpers, model, pictures, prompt_file, tmp_path: Path
):
    store = helpers.get_typestore(helpers.Stores.ROS2_JAZZY)
    maker = helpers.Maker(store)
    with helpers.Writer2(tmp_path / 'drive', version=9) as bag:
        topic = bag.add_connection(helpers.JPEG_TOPIC, helpers.COMPRESSED, typestore=store)
        for index, rgb in enumerate(pictures):
            message = maker.jpeg(index, rgb)
            if index == 3:
                message.data = message.data[:500]
            cdr = store.serialize_cdr(message, helpers.COMPRESSED)
            bag.write(topic, helpers.START_NS + index, cdr)
    job = make_job(helpers, tmp_path / 'drive', tmp_path / 'masks.mcap', prompt_file)
    summary = process_bag(job, model)
    ((index, text),) = summary.problems
    assert index == 3
    assert 'cut off' in text
    with BagReader(job.target) as bag:
        assert bag.topics[helpers.JPEG_TOPIC].num_messages == 10
        frames = list(labelled_frames(bag, helpers.JPEG_TOPIC, RESULTS))
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    prompt_file.write_text(prompt_file.read_text().replace('frame: 0', 'frame: 3'))
    job = make_job(helpers, tmp_path / 'drive', tmp_path / 'more.mcap', prompt_file)
    with pytest.raises(BagError, match='frame 3 has prompts'):
        process_bag(job, model)


def test_refine_and_remove(helpers, model, mcap_bag, prompt_file, tmp_path: Path):
    stamp_ns = helpers.START_NS + 6 * helpers.STEP_NS
    prompt_file.write_text(
        prompt_file.read_text()
        + f'- {{stamp_ns: {stamp_ns}, object_id: square, action: refine, points: [[60, 50]]}}\n'
        + '- {frame: 8, object_id: square, action: remove}\n'
        + '- {frame: 8, object_id: other, box: [52, 30, 92, 70]}\n'
    )
    target = tmp_path / 'masks.mcap'
    process_bag(make_job(helpers, mcap_bag, target, prompt_file), model)
    with BagReader(target) as bag:
        frames = list(labelled_frames(bag, helpers.RAW_TOPIC, RESULTS))
        events = [bag.decode(m) for m in bag.messages([RESULTS.events])]
    assert [[o.object_id for o in f.objects] for f in frames] == 8 * [['square']] + 2 * [['other']]
    last = events[-1]
    assert [(e.type, e.object_id) for e in events[-2:]] == [
        (last.REMOVED, 'square'), (last.ADDED, 'other'),
    ]  # fmt: skip


REFUSED = {
    'frame beyond the end': ('frame: 0', 'frame: 10', PromptError, 'from 0 to 9, got 10'),
    'no such stamp': ('frame: 0', 'stamp_ns: 5', PromptError, 'the nearest one is 1700000000000'),
    'box outside the image': ('60, 70]', '60, 700]', PromptError, 'inside 160x120'),
    'name without end': ('square', 300 * 'x', PromptError, 'at most 256 characters'),
    'unknown key': ('frame: 0', 'frame: 0, bocks: 1', ConfigError, 'bocks'),
    'nobody to refine': ('frame: 0', 'action: refine, frame: 0', PromptError, 'cannot refine'),
    'no time': ('frame: 0, ', '', ConfigError, 'one of frame and stamp_ns'),
    'no prompt': (', box: [20, 30, 60, 70]', '', ConfigError, 'a box, points, a mask or text'),
    'not YAML': ('prompts:', 'prompts: [', ConfigError, 'not valid YAML'),
    'unknown section': ('prompts:', 'promts:', ConfigError, 'promts'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_prompts_that_cannot_be_used(name, helpers, model, mcap_bag, prompt_file, tmp_path: Path):
    old, new, kind, words = REFUSED[name]
    assert old in prompt_file.read_text()
    prompt_file.write_text(prompt_file.read_text().replace(old, new))
    job = make_job(helpers, mcap_bag, tmp_path / 'masks.mcap', prompt_file)
    with pytest.raises(kind, match=words):
        process_bag(job, model)
    assert not job.target.exists()


@pytest.mark.parametrize(
    ('fields', 'kind', 'words'),
    [
        ({'topic': '/nobody'}, BagError, 'expected images on /nobody, got /camera/image_raw'),
        ({'topic': '/note'}, BagError, 'expected images on /note'),  # not images
        ({'namespace': 'robust_vos'}, ConfigError, 'such as /robust_vos'),
    ],
)
def test_jobs_that_cannot_be_done(
    fields, kind, words, helpers, model, mcap_bag, prompt_file, tmp_path: Path
):
    job = make_job(helpers, mcap_bag, tmp_path / 'masks.mcap', prompt_file, **fields)
    with pytest.raises(kind, match=words):
        process_bag(job, model)


def test_outputs_are_not_overwritten(helpers, model, mcap_bag, prompt_file, tmp_path: Path):
    (tmp_path / 'masks.mcap').write_text('mine')
    job = make_job(helpers, mcap_bag, tmp_path / 'masks.mcap', prompt_file)
    with pytest.raises(ConfigError, match='exists already'):
        process_bag(job, model)
    assert (tmp_path / 'masks.mcap').read_text() == 'mine'


def test_a_journal_belongs_to_one_process(tmp_path: Path):
    with Journal(tmp_path / 'journal.sqlite', 'key'), pytest.raises(BagError, match='another'):
        Journal(tmp_path / 'journal.sqlite', 'key')
    (tmp_path / 'journal.sqlite').write_bytes(b'no database' * 100)
    with Journal(tmp_path / 'journal.sqlite', 'key') as journal:
        assert journal.num_frames == 0


def test_what_came_meanwhile_is_not_overwritten(
    helpers, model, mcap_bag, prompt_file, tmp_path: Path
):
    job = make_job(helpers, mcap_bag, tmp_path / 'masks.mcap', prompt_file)
    with pytest.raises(ConfigError, match='exists already'):
        process_bag(
            job, model, on_frame=lambda: job.target.write_text('mine'), checkpoint_frames=5
        )
    assert job.target.read_text() == 'mine'
    job.target.unlink()
    assert process_bag(job, model, checkpoint_frames=5).num_resumed == 10
    assert not job.partial_folder.exists()


def damage_page(path, saved):
    data = bytearray(path.read_bytes())
    data[4096:] = bytes([7]) * (len(data) - 4096)
    path.write_bytes(data)


def damage_state(path, saved):
    position = path.read_bytes().find(saved)
    with path.open('r+b') as stream:
        stream.seek(position)
        stream.write(bytes(len(saved)))


@pytest.mark.parametrize('damage', [damage_page, damage_state])
def test_a_damaged_journal_is_begun_anew(damage, tmp_path: Path):
    path = tmp_path / 'journal.sqlite'
    with Journal(path, 'key') as journal:
        journal.checkpoint(3, b'tracks' * 50)
    with Journal(path, 'key') as journal:
        assert (journal.num_frames, journal.saved) == (3, b'tracks' * 50)
    with sqlite3.connect(path) as database:
        ((saved,),) = database.execute('SELECT saved FROM checkpoint')
    database.close()
    damage(path, saved[:200])
    with Journal(path, 'key') as journal:
        assert (journal.num_frames, journal.saved) == (0, None)
        journal.checkpoint(1, b'')


def test_a_journal_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / 'journal.sqlite').mkdir()
    with pytest.raises(sqlite3.OperationalError, match='unable to open'):
        Journal(tmp_path / 'journal.sqlite', 'key')


def test_label_masks_are_small():
    """25 kB hold a 640x480 mask of eight ragged objects."""
    from robust_vos_ros.bags.results import ResultSerializer
    from robust_vos_ros.core.types import TrackResult

    noise = np.random.default_rng(0).normal(size=(480, 640, 8)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 12)
    smooth /= smooth.std()
    labels = np.where(smooth.max(2) > 1.2, smooth.argmax(2) + 1, 0).astype(np.uint8)
    result = TrackResult(0, 'camera', 0, labels, None, (), (), 0)
    *_, png = ResultSerializer(RESULTS).serialize(result, 0)
    assert len(png.cdr) < 25_000
