"""Several cameras in one node, over DDS: one model, and for each its own tracker and topics."""

import pytest

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from robust_vos.msg import ErrorCode, TrackedObject, TrackedObjectArray
from robust_vos.srv import AddObjects, ListObjects
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.node.camera_settings import parse_all
from robust_vos_ros.node.parts import state_path
from robust_vos_ros.node.settings import NodeSettings

pytestmark = pytest.mark.ros

CAMERAS = ('front', 'left')


class Camera:
    """What a robot has for one camera of the node."""

    def __init__(self, bench, name, helpers):
        self.bench, self.name, self.helpers = bench, name, helpers
        self.objects = bench.listen(TrackedObjectArray, f'/robust_vos/{name}/objects')
        self.publish = bench.talk(Image, f'/{name}/image')

    def show(self, rgb=None):
        """Publish an image and return the objects that the node found in it."""
        msg = self.helpers.make_image(self.bench.next_stamp(), rgb, frame_id=self.name)
        self.publish(msg)

        def answer():
            return next((m for m in self.objects if m.header == msg.header), None)

        return self.bench.wait(answer, f'the objects of {self.name}')

    def call(self, kind, service, **fields):
        return self.bench.call(kind, f'/robust_vos/{self.name}/{service}', **fields)

    def add(self, *prompts):
        return self.call(AddObjects, 'add_objects', prompts=list(prompts))


def ids(array):
    return [item.object_id for item in array.objects]


def test_each_camera_has_its_own_objects(make_bench, helpers, tmp_path):
    state_file = tmp_path / 'tracks.bin'
    parameters = {
        'cameras': list(CAMERAS),
        'left.tracking.max_objects': 1,
        'state_file': str(state_file),
    }
    bench = make_bench(parameters, start=False)
    refused = bench.call(ListObjects, '/robust_vos/left/list_objects')
    assert refused.error_code == ErrorCode.NOT_ACTIVE
    bench.on_node(bench.robust_vos.start)
    front, left = (Camera(bench, name, helpers) for name in CAMERAS)
    pipelines = bench.robust_vos._configured.pipelines.pipelines
    assert pipelines[0]._tracker.model is pipelines[1]._tracker.model  # weights once

    assert front.add(helpers.make_box_prompt('none')).error_code == ErrorCode.NO_IMAGE
    assert ids(front.show()) == ids(left.show(helpers.make_rgb(20))) == []
    assert front.add(helpers.make_box_prompt('disc')).success
    assert left.add(helpers.make_box_prompt('disc', x=45)).success
    seen = front.show(), left.show(helpers.make_rgb(20))
    assert [ids(array) for array in seen] == [['disc'], ['disc']]
    assert [round(array.objects[0].centroid.x / 10) for array in seen] == [4, 6]
    assert seen[0].objects[0].uuid != seen[1].objects[0].uuid
    second = helpers.make_box_prompt('second')
    assert left.add(second).error_code == ErrorCode.CAPACITY  # its own parameter
    assert front.add(second).success

    assert left.call(SetBool, 'set_enabled', data=False).success
    assert bench.robust_vos.get_parameter('left.enabled').value is False
    assert bench.robust_vos.get_parameter('enabled').value is True
    left.publish(helpers.make_image(bench.next_stamp()))
    bench.wait(lambda: pipelines[1].statistics.counts.ignored == 1, 'the ignored image')
    assert ids(front.show()) == ['disc', 'second']

    assert front.call(Trigger, 'reset').success
    assert ids(front.show()) == []
    assert ids(left.call(ListObjects, 'list_objects')) == ['disc']
    check_diagnostics(bench)
    bench.on_node(bench.robust_vos._deactivate)
    assert (tmp_path / 'tracks.left.bin').exists()
    assert not state_file.exists()
    assert bench.failures == []


def check_diagnostics(bench):
    """Each camera has a status of its own."""
    received = bench.listen(DiagnosticArray, '/diagnostics')
    bench.wait(lambda: received, 'diagnostics')
    statuses = {status.name: status for status in received[-1].status}
    assert set(statuses) == {'robust_vos/front: tracker', 'robust_vos/left: tracker'}
    values = {item.key: item.value for item in statuses['robust_vos/left: tracker'].values}
    assert values['frames ignored while disabled'] == '1'
    assert values['overload'] == 'level 0: nothing left out'


def test_overload_is_told_and_may_be_switched_off(make_bench, helpers):
    """A load that is high by definition: objects take turns, and the diagnostics say why."""
    limits = {'raise_load': 0.1, 'lower_load': 0.0, 'raise_after_s': 0.0}
    bench = make_bench({f'overload.{name}': value for name, value in limits.items()})
    bench.show()
    assert bench.add(helpers.make_box_prompt('disc')).success
    assert bench.add(helpers.make_box_prompt('other', x=80, y=5)).success

    def aged():
        return [bool(item.flags & TrackedObject.FLAG_AGED) for item in bench.show().objects]

    bench.wait(lambda: sorted(aged()) == [False, True], 'an object that rests')
    received = bench.listen(DiagnosticArray, '/diagnostics')
    bench.wait(lambda: received, 'diagnostics')
    status = received[-1].status[0]
    line = next(item.value for item in status.values if item.key == 'overload')
    assert line.startswith('level 3: objects in turn, for ')
    assert 'the camera sends one each' in line
    off = [Parameter('overload.max_level', value=0)]
    assert bench.on_node(lambda: bench.robust_vos.set_parameters(off))[0].successful
    assert aged() == [False, False]


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        (['Front'], "got 'Front'"),  # no name of a topic by convention
        (['a/b'], "got 'a/b'"),
        (['tracking'], "got 'tracking'"),  # its parameters would clash
        (['front', 'front'], 'each one once'),
        ([f'camera_{number}' for number in range(17)], 'at most 16'),
    ],
)
def test_bad_names_of_cameras_are_refused(names, words):
    with pytest.raises(ConfigError, match=words):
        parse_settings(NodeSettings, {'cameras': names})


def test_a_setting_of_a_camera_replaces_that_of_all():
    values = {'publish.png_level': 2, 'left.publish.png_level': 9, 'front.enabled': False}
    settings = parse_all(values, list(CAMERAS))
    levels = [settings.of(name).publish.png_level for name in ('', *CAMERAS)]
    assert levels == [2, 2, 9]
    assert [settings.of(name).enabled for name in ('', *CAMERAS)] == [True, False, True]
    off = parse_all(values | {'enabled': False, 'left.enabled': True}, list(CAMERAS))
    assert not off.of('left').enabled
    with pytest.raises(ConfigError, match='png_level'):
        parse_all({'left.publish.png_level': 10}, list(CAMERAS))


def test_each_camera_has_its_own_state_file():
    assert state_path('/var/tracks.bin', '') == '/var/tracks.bin'
    assert state_path('/var/tracks.bin', 'left') == '/var/tracks.left.bin'
    assert state_path('', 'left') == ''
