"""Frames of a bag in any order, and the states of its objects."""

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from robust_vos_ros.bags.info import read_info
from robust_vos_ros.bags.labelled import labelled_frames
from robust_vos_ros.bags.reader import BagReader
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.bags.seeking import ObjectSpans, SeekableBag
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.ros_types.images import to_frame

RESULTS = ResultTopics('/robust_vos')
ORDER = (7, 0, 9, 9, 3)


@pytest.mark.parametrize('kind', ['mcap', 'db3', 'ros1'])
def test_frames_in_any_order(kind, pictures, mcap_bag, tmp_path, helpers):
    path = mcap_bag
    if kind == 'db3':
        path = helpers.write_ros2(tmp_path / 'drive', pictures, storage=StoragePlugin.SQLITE3)
    elif kind == 'ros1':
        path = helpers.write_ros1(tmp_path / 'drive.bag', pictures)
    with BagReader(path) as bag:
        frames = SeekableBag(bag, '', RESULTS)
        assert frames.stamps_ns == [helpers.START_NS + i * helpers.STEP_NS for i in range(10)]
        for index in ORDER:
            stored = frames.frame(index)
            np.testing.assert_array_equal(to_frame(stored.image).rgb, pictures[index])
            assert (stored.array, stored.labels) == (None, None)
        with pytest.raises(BagError, match='expected an image from 0 to 9, got 10'):
            frames.frame(10)


def test_results_belong_to_their_images(labelled_bag):
    with BagReader(labelled_bag) as bag:
        frames = SeekableBag(bag, '', RESULTS)
        expected = list(labelled_frames(bag, frames.topic, RESULTS))
        for index in ORDER:
            stored = frames.frame(index)
            np.testing.assert_array_equal(stored.labels, expected[index].labels)
            ids = [item.object_id for item in expected[index].objects]
            assert [item.object_id for item in stored.array.objects] == ids
    for history in read_info(labelled_bag).objects:
        spans = frames.objects[history.object_id].spans
        states = [span.state for span in spans for _ in range(span.first, span.last + 1)]
        assert states == [item.state for item in history.sightings]
        assert spans[0].first == {'square': 0, 'corner': 4}[history.object_id]


@pytest.mark.parametrize(
    ('frames', 'spans'),
    [
        ([(0, 'TRACKED', -1), (1, 'TRACKED', 0)], [(0, 1, 'TRACKED')]),
        # images without a result keep the state
        ([(0, 'TRACKED', -1), (5, 'LOST', 0)], [(0, 4, 'TRACKED'), (5, 5, 'LOST')]),
        # removed, and added again
        ([(0, 'TRACKED', -1), (3, 'TRACKED', 2)], [(0, 0, 'TRACKED'), (3, 3, 'TRACKED')]),
    ],
)
def test_spans(frames, spans):
    item = ObjectSpans('cup', '', 1)
    for index, state, previous in frames:
        item.extend(index, ObjectState[state], previous)
    assert [(span.first, span.last, span.state.name) for span in item.spans] == spans
