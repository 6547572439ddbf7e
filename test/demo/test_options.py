"""What the demo accepts, and what it says about the rest."""

import os

import pytest

pytest.importorskip('rclpy', reason='the demo runs ROS nodes')
pytest.importorskip('robust_vos.msg', reason='the messages are not built')

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.demo.run import DemoOptions, open_clip, parse_box, parse_clicks, prepare_folder
from robust_vos_ros.demo.transport import make_room_for_images

pytestmark = pytest.mark.ros


@pytest.mark.parametrize('text', ['10,20,30,40', ' 10, 20, 30, 40 ', '10.0,20,3e1,40'])
def test_boxes(text):
    assert parse_box(text) == (10, 20, 30, 40)


@pytest.mark.parametrize('text', ['10,20,30', '10,20,30,40,50', 'a,b,c,d', '10 20 30 40', ','])
def test_wrong_boxes_are_refused(text):
    with pytest.raises(ConfigError, match='expected --box x0,y0,x1,y1'):
        parse_box(text)


@pytest.mark.parametrize(
    ('text', 'clicks'),
    [
        ('1,2', ((1, 2, 1),)),  # one click
        ('1,2;3,4', ((1, 2, 1), (3, 4, 1))),
        ('1,2;3.5,4,0', ((1, 2, 1), (3.5, 4, 0))),  # the second one beside the object
    ],
)
def test_clicks(text, clicks):
    assert parse_clicks(text) == clicks


@pytest.mark.parametrize('text', ['1', '1,2,3,4', '1,2;', '1,2,7', 'a,b', ';'])
def test_wrong_clicks_are_refused(text):
    with pytest.raises(ConfigError, match='expected --clicks "x,y;x,y"'):
        parse_clicks(text)


def test_a_video_needs_a_prompt(video_file):
    with pytest.raises(ConfigError, match='pass --box x0,y0,x1,y1'):
        open_clip(DemoOptions(video=video_file))


@pytest.mark.parametrize('options', [{'box': '1,2,3,4'}, {'clicks': '1,2'}])
def test_the_generated_clip_has_its_own_prompts(options):
    with pytest.raises(ConfigError, match='pass --video too'):
        open_clip(DemoOptions(**options))


@pytest.mark.parametrize('options', [{'rate_hz': 0.0}, {'rate_hz': -1.0}, {'max_frames': 1}])
def test_nothing_to_play_is_refused(options):
    with pytest.raises(ConfigError, match='expected a rate above 0'):
        open_clip(DemoOptions(**options))


def test_options_reach_the_clip(video_file):
    options = DemoOptions(
        video=video_file, box='1,2,30,40', clicks='5,6', max_frames=4, rate_hz=30
    )
    clip = open_clip(options)
    assert [prompt.object_id for prompt in clip.prompts] == ['object_1', 'object_2']
    assert sum(1 for _ in clip.frames()) == 4


def test_results_of_an_earlier_run_are_removed_and_nothing_else(tmp_path):
    (tmp_path / 'demo_bag').mkdir()
    for name in ('demo_bag/metadata.yaml', 'demo.mp4', 'node.log', 'notes.txt'):
        (tmp_path / name).write_text('')
    prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='pass another --out'):
        prepare_folder(tmp_path / 'file' / 'demo')


def test_shared_memory_is_set_up_for_children(tmp_path, no_domain, monkeypatch):
    monkeypatch.setattr(os, 'environ', dict(os.environ))
    make_room_for_images(tmp_path / 'fastdds.xml')
    assert os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] == str(tmp_path / 'fastdds.xml')
    assert 'SHM' in (tmp_path / 'fastdds.xml').read_text()


def test_transports_of_the_user_are_kept(tmp_path, no_domain, monkeypatch):
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    make_room_for_images(tmp_path / 'fastdds.xml')
    assert 'FASTRTPS_DEFAULT_PROFILES_FILE' not in os.environ
    assert not (tmp_path / 'fastdds.xml').exists()
