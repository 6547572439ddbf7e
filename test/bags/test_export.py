"""Exports, read by others: pycocotools, OpenCV, our data sets; and back as prompts."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from robust_vos_ros.bags import labelled
from robust_vos_ros.bags.export import export_bag
from robust_vos_ros.bags.info import read_info
from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.labelled import labelled_frames
from robust_vos_ros.bags.mask_files import load_names
from robust_vos_ros.bags.process import process_bag
from robust_vos_ros.bags.prompts import load_prompt_file, make_plan
from robust_vos_ros.bags.reader import BagReader
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import BagError, ConfigError, PromptError
from robust_vos_ros.data.video_folder import open_dataset

RESULTS = ResultTopics('/robust_vos')


@pytest.fixture(scope='module')
def frames(labelled_bag, helpers):
    with BagReader(labelled_bag) as bag:
        found = list(labelled_frames(bag, helpers.RAW_TOPIC, RESULTS))
    assert all((frame.labels == 1).any() for frame in found)
    assert all((frame.labels == 2).any() for frame in found[4:6])
    return found


def test_davis_is_a_data_set(labelled_bag, frames, pictures, tmp_path: Path):
    assert export_bag(labelled_bag, tmp_path / 'davis', 'davis') == len(frames)
    sequence = open_dataset(tmp_path / 'davis', layout='davis2017', split='val')['drive_masks']
    assert sequence.num_frames == len(frames)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(sequence.label_map(index).ids, frame.labels)
        assert np.abs(sequence.image(index).astype(int) - pictures[index]).mean() < 3
    path = tmp_path / 'davis' / 'Annotations' / '480p' / 'drive_masks' / '00000.png'
    with Image.open(path) as picture:
        assert picture.mode == 'P'
    names = load_names(tmp_path / 'davis' / 'objects.json')
    assert (names[1].object_id, names[1].class_id, names[2].object_id) == (
        'square', 'toy', 'corner',
    )  # fmt: skip


def test_davis_masks_come_back_as_prompts(
    labelled_bag, mcap_bag, frames, helpers, model, tmp_path: Path
):
    export_bag(labelled_bag, tmp_path / 'davis', 'davis')
    prompts = tmp_path / 'prompts.yaml'
    prompts.write_text("""
prompts:
- masks: davis/Annotations/480p/drive_masks
  objects: davis/objects.json
""")
    plan = make_plan(load_prompt_file(prompts), tmp_path, num_frames=10, frame_of={})
    assert sorted(plan) == [0, 4]
    for index, object_id, label in ((0, 'square', 1), (4, 'corner', 2)):
        (prompt,) = plan[index].add
        assert prompt.object_id == object_id
        np.testing.assert_array_equal(prompt.mask, frames[index].labels == label)
    target = tmp_path / 'again.mcap'
    process_bag(
        Job(source=mcap_bag, target=target, prompts=prompts, model=helpers.SETTINGS), model
    )
    with BagReader(target) as bag:
        again = list(labelled_frames(bag, helpers.RAW_TOPIC, RESULTS))
    overlap = (again[9].labels == 1) & (frames[9].labels == 1)
    assert overlap.sum() > 0.8 * (frames[9].labels == 1).sum()


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')  # pycocotools
def test_coco_is_what_pycocotools_reads(labelled_bag, frames, tmp_path: Path, capsys):
    export_bag(labelled_bag, tmp_path / 'coco', 'coco')
    coco = COCO(tmp_path / 'coco' / 'annotations.json')
    capsys.readouterr()  # it talks
    assert len(coco.imgs) == len(frames)
    tracks = {'square': 1, 'corner': 2}
    for frame in frames:
        labels = np.zeros_like(frame.labels)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=frame.index))
        assert [item['object_id'] for item in annotations] == [
            item.object_id for item in frame.shown
        ]
        for annotation, item in zip(annotations, frame.shown, strict=True):
            mask = coco.annToMask(annotation)
            labels[mask > 0] = item.label
            assert annotation['area'] == mask.sum()
            assert annotation['bbox'] == list(cv2.boundingRect(mask))
            assert annotation['track_id'] == tracks[item.object_id]
        np.testing.assert_array_equal(labels, frame.labels)
    assert [item['name'] for item in coco.cats.values()] == ['toy', 'object']
    assert (tmp_path / 'coco' / 'images' / '00009.jpg').is_file()


def test_yolo_outlines_give_the_mask_back(labelled_bag, frames, helpers, tmp_path: Path):
    export_bag(labelled_bag, tmp_path / 'yolo', 'yolo-seg')
    height, width = helpers.SIZE_HW
    for frame in frames:
        filled = np.zeros((height, width), np.uint8)
        lines = (tmp_path / 'yolo' / 'labels' / f'{frame.index:05d}.txt').read_text().splitlines()
        for line in lines:
            number, *values = line.split()
            if number != '0':
                continue
            points = np.array(values, float).reshape(-1, 2) * (width, height)
            cv2.fillPoly(filled, [points.astype(np.int32)], 1)
        mask = (frame.labels == 1).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        np.testing.assert_array_equal(filled, cv2.fillPoly(np.zeros_like(mask), outlines, 1))
    assert 'names:\n  0: toy\n  1: object\n' in (tmp_path / 'yolo' / 'data.yaml').read_text()


def test_mot(labelled_bag, frames, tmp_path: Path):
    export_bag(labelled_bag, tmp_path / 'mot', 'mot')
    root = tmp_path / 'mot' / 'drive_masks'
    rows = [
        line.split(',')
        for line in (root / 'gt' / 'gt.txt').read_text().splitlines()
    ]  # fmt: skip
    assert len(rows) == sum(len(frame.shown) for frame in frames)
    x, y, width, height = frames[0].shown[0].box_xywh
    assert rows[0][:8] == [str(v) for v in (1, 1, x + 1, y + 1, width, height, 1, 1)]
    assert (
        'frameRate=10\nseqLength=10\nimWidth=160\nimHeight=120\n'
        in (root / 'seqinfo.ini').read_text()
    )
    names = [path.name for path in sorted((root / 'img1').iterdir())]
    assert names == [f'{number:06d}.jpg' for number in range(1, 11)]


def test_video(labelled_bag, frames, pictures, helpers, tmp_path: Path):
    export_bag(labelled_bag, tmp_path / 'masks.mp4', 'video')
    video = cv2.VideoCapture(str(tmp_path / 'masks.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == len(frames)
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    picture = video.read()[1]
    assert picture.shape[:2] == helpers.SIZE_HW
    change = np.abs(picture[..., ::-1].astype(int) - pictures[0]).sum(axis=2)
    mask = cv2.erode((frames[0].labels == 1).astype(np.uint8), np.ones((9, 9))) > 0
    assert change[mask].mean() > 3 * change[frames[0].labels == 0].mean()


def test_confidence_decides_what_is_exported(labelled_bag, frames, tmp_path: Path):
    limit = float(np.median([item.confidence for f in frames for item in f.shown]))
    export_bag(labelled_bag, tmp_path / 'coco', 'coco', min_confidence=limit)
    content = json.loads((tmp_path / 'coco' / 'annotations.json').read_text())
    expected = sum(item.confidence >= limit for f in frames for item in f.shown)
    assert 0 < len(content['annotations']) == expected < sum(len(f.shown) for f in frames)


def write_changed(labelled_bag, folder, change):
    """Copy a bag but for what `change(bag, index of the message, message)` makes of a message."""
    with BagReader(labelled_bag) as bag, BagWriter(folder) as writer:
        for index, message in enumerate(bag.messages()):
            cdr = change(bag, index, message)
            if cdr is not None:
                writer.write(message.topic, message.msgtype, cdr, message.stamp_ns)
    return folder


def without_first_results(bag, _, message):
    early = message.stamp_ns < bag.start_ns + 300_000_000
    return None if early and message.topic.startswith(RESULTS.prefix) else message.cdr


def test_frames_without_results_count_in_mot_and_dots_stay_in_names(labelled_bag, tmp_path: Path):
    folder = write_changed(labelled_bag, tmp_path / 'drive.v2', without_first_results)
    assert export_bag(folder, tmp_path / 'mot', 'mot') == 7
    root = tmp_path / 'mot' / 'drive.v2'
    assert 'seqLength=10\n' in (root / 'seqinfo.ini').read_text()
    assert min((root / 'img1').iterdir()).name == '000004.jpg'


def of_other_stamps(bag, index, message):
    if message.topic != RESULTS.label_png:
        return message.cdr
    return message.cdr[:4] + bytes([index]) + message.cdr[5:]


def with_empty_mask(bag, _, message):
    if message.topic != RESULTS.label_png:
        return message.cdr
    png = dataclasses.replace(bag.decode(message), data=np.zeros(0, np.uint8))
    return bytes(bag.typestore.serialize_cdr(png, message.msgtype))


def with_odd_state(bag, _, message):
    if message.topic != RESULTS.objects:
        return message.cdr
    array = bag.decode(message)
    array.objects[0].state = 77
    return bytes(bag.typestore.serialize_cdr(array, message.msgtype))


ODD_RESULTS = {
    'no stamp in common': (of_other_stamps, 'expected a frame with objects and mask of one stamp'),
    'empty mask': (with_empty_mask, 'is not a grey PNG'),
    'unknown state': (with_odd_state, '77 is not a valid ObjectState'),
}


@pytest.mark.parametrize('name', ODD_RESULTS)
def test_odd_results_get_one_sentence(name, labelled_bag, tmp_path: Path):
    change, words = ODD_RESULTS[name]
    folder = write_changed(labelled_bag, tmp_path / 'odd', change)
    with pytest.raises(BagError, match=words):
        export_bag(folder, tmp_path / 'out', 'coco')
    assert not (tmp_path / 'out').exists()
    if change is with_odd_state:
        with pytest.raises(BagError, match=words):
            read_info(folder)


@pytest.mark.parametrize(('delay', 'count'), [(2, 10), (6, 0)])
def test_frames_that_wait_are_bounded(
    delay, count, labelled_bag, helpers, tmp_path: Path, monkeypatch
):
    """Results that come more than four images late find their images gone."""
    monkeypatch.setattr(labelled, '_MAX_PENDING', 4)
    with BagReader(labelled_bag) as bag, BagWriter(tmp_path / 'late') as writer:
        for message in bag.messages():
            is_result = message.topic.startswith(RESULTS.prefix)
            stamp_ns = message.stamp_ns + is_result * (delay * helpers.STEP_NS + 1)
            writer.write(message.topic, message.msgtype, message.cdr, stamp_ns)
    with BagReader(tmp_path / 'late') as bag:
        assert len(list(labelled_frames(bag, helpers.RAW_TOPIC, RESULTS))) == count


def test_what_cannot_be_exported(labelled_bag, mcap_bag, tmp_path: Path):
    with pytest.raises(BagError, match='got none; make them with `robust-vos bag process`'):
        export_bag(mcap_bag, tmp_path / 'out', 'coco')
    with pytest.raises(ConfigError, match="video, got 'pascal'"):
        export_bag(labelled_bag, tmp_path / 'out', 'pascal')
    (tmp_path / 'there').mkdir()
    with pytest.raises(ConfigError, match='exists already'):
        export_bag(labelled_bag, tmp_path / 'there', 'coco')


def write_colours(folder):
    Image.new('RGB', (160, 120)).save(folder / '00000.png')


def write_named(folder):
    Image.new('L', (160, 120), 1).save(folder / 'first.png')


def write_empty(folder):
    Image.new('L', (160, 120)).save(folder / '00000.png')


def write_late(folder):
    Image.new('L', (160, 120), 1).save(folder / '00010.png')


BAD_MASKS = {
    'a colour picture': (write_colours, ConfigError, 'mode RGB'),
    'not a frame': (write_named, PromptError, 'such as 00000.png'),
    'nothing in it': (write_empty, PromptError, 'show an object'),
    'beyond the end': (write_late, PromptError, 'from 0 to 9, got 10'),
    'no file': (lambda folder: None, PromptError, 'got none'),
    'not a PNG': (
        lambda folder: (folder / '00000.png').write_text('hello'), ConfigError, 'a PNG of masks',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD_MASKS)
def test_masks_that_cannot_be_prompts(name, tmp_path: Path):
    write, kind, words = BAD_MASKS[name]
    (tmp_path / 'masks').mkdir()
    write(tmp_path / 'masks')
    (tmp_path / 'prompts.yaml').write_text('prompts: [{masks: masks}]')
    file = load_prompt_file(tmp_path / 'prompts.yaml')
    with pytest.raises(kind, match=words):
        make_plan(file, tmp_path, num_frames=10, frame_of={})


def test_one_mask_file(tmp_path: Path):
    labels = np.zeros((120, 160), np.uint8)
    labels[:10, :20], labels[50:60], labels[100:] = 3, 7, 255
    Image.fromarray(labels).save(tmp_path / 'first.png')
    (tmp_path / 'objects.yaml').write_text('3: {object_id: cup, class_id: kitchen}')
    (tmp_path / 'prompts.yaml').write_text(
        'prompts:\n'
        '- {frame: 2, masks: first.png, objects: objects.yaml}\n'
        '- {frame: 3, object_id: all, mask: first.png}\n'
    )
    file = load_prompt_file(tmp_path / 'prompts.yaml')
    plan = make_plan(file, tmp_path, num_frames=10, frame_of={})
    cup, other = plan[2].add  # 255 is void
    assert (cup.object_id, cup.class_id, other.object_id) == ('cup', 'kitchen', '7')
    np.testing.assert_array_equal(other.mask, labels == 7)
    np.testing.assert_array_equal(plan[3].add[0].mask, labels > 0)
