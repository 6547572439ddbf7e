"""What the node publishes when it drops nothing is what offline processing of its input gives."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.labelled import labelled_frames
from robust_vos_ros.bags.process import process_bag
from robust_vos_ros.bags.reader import IMAGE, BagReader
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.settings import ModelSettings

pytestmark = pytest.mark.ros


def test_live_and_offline_masks_are_equal(bench, helpers, tmp_path):
    pngs = bench.listen(CompressedImage, '/robust_vos/label_mask/compressed')
    images, live = [], []
    for index in range(8):
        rgb = np.roll(helpers.make_rgb(), 3 * index, axis=1)
        image = helpers.make_image(bench.next_stamp(), rgb)
        live.append(bench.process(image))
        images.append(image)
        if index in {1, 4}:  # the second one joins objects that are tracked already
            assert bench.add(helpers.make_box_prompt(f'disc {index}', x=25 + 3 * index)).success
    bench.wait(lambda: len(pngs) == len(images), 'all label masks')
    with BagWriter(tmp_path / 'live') as bag:
        for image in images:
            stamp_ns = helpers.stamp_ns(image.header)
            bag.write('/image', IMAGE, serialize_message(image), stamp_ns)
    boxes = {index: [25 + 3 * index, 33, 55 + 3 * index, 63] for index in (1, 4)}
    prompts = [{'frame': i, 'object_id': f'disc {i}', 'box': box} for i, box in boxes.items()]
    (tmp_path / 'prompts.yaml').write_text(json.dumps({'prompts': prompts}))
    job = Job(
        source=tmp_path / 'live',
        target=tmp_path / 'offline.mcap',
        prompts=tmp_path / 'prompts.yaml',
        model=ModelSettings(num_threads=helpers.FAST['model.num_threads']),
    )
    process_bag(job, bench.pipeline._tracker.model)
    with BagReader(job.target) as bag:
        offline = list(labelled_frames(bag, '/image', ResultTopics('/robust_vos')))
    assert len(offline) == len(images)
    for index, frame in enumerate(offline):
        if index in boxes:  # the node has published before it gets the prompt
            continue
        mask = cv2.imdecode(np.frombuffer(pngs[index].data, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(frame.labels, mask)
        for live_object, item in zip(live[index].objects, frame.objects, strict=True):
            assert item.object_id == live_object.object_id
            assert item.confidence == live_object.confidence
            assert item.state == live_object.state
    assert (offline[-1].labels == 1).any()
