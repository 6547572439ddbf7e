"""The state file of a node: when it is written, and what becomes of one that cannot be used."""

import threading

import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from robust_vos.msg import TrackedObject
from robust_vos.srv import ListObjects, RemoveObjects
from std_srvs.srv import Trigger

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.node import parts, state_file

pytestmark = pytest.mark.ros

LONG_S = 3600.0  # nothing is saved because of the time


@pytest.fixture(scope='module')
def kept(make_bench, tmp_path_factory):
    """An active node with a state file."""
    path = tmp_path_factory.mktemp('state') / 'tracks'
    bench = make_bench({'state_file': str(path), 'state_save_interval_s': LONG_S})
    bench.path = path
    return bench


def change(bench, *names):
    for name in names:
        transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
        assert bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success


def restart(bench):
    """Clean the node up and activate it again; return the objects of its first image."""
    change(bench, 'DEACTIVATE', 'CLEANUP')
    change(bench, 'CONFIGURE', 'ACTIVATE')
    bench.wait_for_input()
    return bench.show().objects


def test_objects_survive_a_clean_up_until_they_are_removed(kept, helpers):
    bench = kept
    bench.show()
    assert not bench.path.exists()  # no objects, no file
    bench.add(helpers.make_box_prompt('a'), helpers.make_box_prompt('b'))
    names = [(item.object_id, bytes(item.uuid.uuid)) for item in bench.show().objects]
    assert [name for name, _ in names] == ['a', 'b']
    back = restart(bench)
    assert [(item.object_id, bytes(item.uuid.uuid)) for item in back] == names
    assert {item.state for item in back} == {TrackedObject.STATE_LOST}

    assert bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=['a']).success
    bench.wait(lambda: b'"object_id\\":\\"a' not in bench.path.read_bytes(), 'one object')
    assert b'"object_id\\":\\"b' in bench.path.read_bytes()
    assert bench.call(Trigger, '/robust_vos/reset').success
    bench.wait(lambda: b'object_id' not in bench.path.read_bytes(), 'no objects in the file')
    assert restart(bench) == []
    assert bench.failures == []


def test_a_removal_is_written_before_the_node_is_cleaned_up(kept, helpers, monkeypatch):
    bench, finishing, kept_objects = kept, threading.Event(), []
    write, finish = state_file.replace_file, state_file.StateFile.finish

    def write_late(*args):
        assert finishing.wait(60.0)
        write(*args)

    def watch_finish(*args):
        finishing.set()
        finish(*args)
        kept_objects.append(b'object_id' in bench.path.read_bytes())

    bench.show()
    bench.add(helpers.make_box_prompt('a'))
    restart(bench)  # which saves it
    with monkeypatch.context() as patch:
        patch.setattr(state_file, 'replace_file', write_late)
        patch.setattr(state_file.StateFile, 'finish', watch_finish)
        assert bench.call(Trigger, '/robust_vos/reset').success
        bench.show()
        assert restart(bench) == []
    assert kept_objects[0] is False


def test_an_unusable_file_is_kept_under_another_name(kept, helpers):
    bench = kept
    change(bench, 'DEACTIVATE', 'CLEANUP')
    for number, content in ((1, b'not tracks'), (2, b'')):
        bench.path.write_bytes(content)
        change(bench, 'CONFIGURE')
        assert not bench.path.exists()
        aside = bench.path.with_name(f'tracks.refused-{number}')
        assert aside.read_bytes() == content
        change(bench, 'CLEANUP')
    change(bench, 'CONFIGURE', 'ACTIVATE')
    bench.wait_for_input()
    bench.show()
    assert bench.add(helpers.make_box_prompt('c')).success
    bench.show()
    change(bench, 'DEACTIVATE')
    assert bench.path.exists()
    change(bench, 'ACTIVATE')
    bench.wait_for_input()


def fail_to_configure(bench):
    """Return why."""
    transition = Transition(id=Transition.TRANSITION_CONFIGURE)
    answer = bench.call(ChangeState, '/robust_vos/change_state', transition=transition)
    assert not answer.success
    return bench.call(ListObjects, '/robust_vos/list_objects').message


def test_a_file_that_goes_bad_meanwhile_leaves_no_publishers(kept, monkeypatch):
    bench = kept
    change(bench, 'DEACTIVATE', 'CLEANUP')
    num_publishers = len(list(bench.robust_vos.publishers))

    def fail(*_):
        raise ConfigError('gone')

    with monkeypatch.context() as patch:
        patch.setattr(state_file.StateFile, 'load', fail)
        for _ in range(2):
            assert 'gone' in fail_to_configure(bench)
            assert len(list(bench.robust_vos.publishers)) == num_publishers
    change(bench, 'CONFIGURE', 'ACTIVATE')
    bench.wait_for_input()


@pytest.mark.parametrize('kind', ['folder', 'parent is a file', 'nothing can be written'])
def test_a_file_that_cannot_be_read_or_written_is_an_error(kept, tmp_path, kind, monkeypatch):
    """At once, before the model is loaded."""
    bench = kept
    change(bench, 'DEACTIVATE', 'CLEANUP')
    num_publishers = len(list(bench.robust_vos.publishers))
    path = tmp_path / 'tracks'
    if kind == 'folder':
        path.mkdir()
    else:
        path.write_text('mine')
    if kind == 'parent is a file':
        path = path / 'tracks'
    if kind == 'nothing can be written':  # a folder in the way, as the tests may run as root
        path = tmp_path / 'new tracks'
        path.with_name('new tracks.new').mkdir()
    old = [Parameter('state_file', value=str(bench.path))]
    new = [Parameter('state_file', value=str(path))]
    (result,) = bench.on_node(lambda: bench.robust_vos.set_parameters(new))
    assert result.successful
    with monkeypatch.context() as patch:
        patch.setattr(parts, 'load_model', None)  # calling it would be another error
        why = fail_to_configure(bench)
    assert f'state_file: expected a file that can be read and written, got {path}' in why
    assert len(list(bench.robust_vos.publishers)) == num_publishers
    (result,) = bench.on_node(lambda: bench.robust_vos.set_parameters(old))
    assert (tmp_path / 'tracks').is_dir() or (tmp_path / 'tracks').read_text() == 'mine'
    change(bench, 'CONFIGURE', 'ACTIVATE')
    bench.wait_for_input()
    assert bench.failures == []
