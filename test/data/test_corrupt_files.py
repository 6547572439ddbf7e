import json
import os

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.data.corrupt_files import CorruptOptions, plan, run_job, run_jobs
from robust_vos_ros.data.corruption import Corruption
from robust_vos_ros.data.severity import Profile, clip_seed
from robust_vos_ros.data.video_folder import open_dataset

OPTIONS = CorruptOptions(('rain',), 3.0, 'fourier', 7)


def picture(index):
    rng = np.random.default_rng(index)
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))


def make_images(folder, count=3, ending='.png'):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f'{index:05d}{ending}'), picture(index)[..., ::-1])
    return folder


def make_dataset(root, images='JPEGImages', masks='Annotations'):
    for name in ('bear', 'dog'):
        make_images(root / images / name)
        (root / masks / name).mkdir(parents=True)
        cv2.imwrite(str(root / masks / name / '00000.png'), np.eye(48, 64, dtype=np.uint8))
    (root / 'val.txt').write_text('bear\ndog\n')
    return root


def corrupt(source, out, options=OPTIONS):
    jobs = plan(source, out, options)
    for job in jobs:
        run_job(job)
    return jobs


def read(path):
    return cv2.imread(str(path))[..., ::-1]


def test_files_hold_what_a_stream_would_see(tmp_path):
    source = make_images(tmp_path / 'drive')
    corrupt(source, tmp_path / 'out')
    stream = Corruption('rain', Profile('fourier', 3.0, 3), clip_seed('drive', 7))
    for index in range(3):
        expected = stream.apply(picture(index), index)
        assert np.array_equal(read(tmp_path / f'out/rain/{index:05d}.png'), expected)


@pytest.mark.parametrize(
    ('layout', 'images', 'masks'),
    [
        ('folders', 'JPEGImages', 'Annotations'),
        ('mose', 'valid/JPEGImages', 'valid/Annotations'),
        ('davis2017', 'JPEGImages/480p', 'Annotations/480p'),
    ],
)
def test_a_data_set_keeps_its_form(tmp_path, layout, images, masks):
    root = make_dataset(tmp_path / 'set', images, masks)
    split = {'folders': 'val', 'mose': 'valid', 'davis2017': 'val'}[layout]
    if layout == 'davis2017':
        (root / 'ImageSets/2017').mkdir(parents=True)
        (root / 'val.txt').rename(root / 'ImageSets/2017/val.txt')
    corrupt(root, tmp_path / 'out', CorruptOptions(('fog', 'snow'), 2.0, 'constant', 0))
    for name in ('fog', 'snow'):
        clean = open_dataset(root, layout=layout, split=split)
        spoilt = open_dataset(tmp_path / 'out' / name, layout=layout, split=split)
        assert [s.name for s in spoilt] == [s.name for s in clean] == ['bear', 'dog']
        assert spoilt['dog'].object_ids == (1,)
        assert not np.array_equal(spoilt['dog'].image(1), clean['dog'].image(1))
    assert any(path.is_symlink() for path in (tmp_path / 'out/fog').rglob('*'))
    # Links hold where both are moved together.
    tmp_path.joinpath('set').rename(tmp_path / 'moved')
    assert not (tmp_path / 'out/fog' / masks).exists()
    (tmp_path / 'moved').rename(tmp_path / 'set')
    assert (tmp_path / 'out/fog' / masks).exists()


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    source = make_images(tmp_path / 'drive')
    corrupt(source, tmp_path / 'out')
    lost, kept = tmp_path / 'out/rain/00001.png', tmp_path / 'out/rain/00002.png'
    whole = lost.read_bytes()
    lost.unlink()
    os.utime(kept, (1, 1))
    corrupt(source, tmp_path / 'out')
    assert lost.read_bytes() == whole
    assert kept.stat().st_mtime == 1


def test_noise_survives_a_jpeg_file(tmp_path):
    source = make_images(tmp_path / 'drive', ending='.jpg')
    corrupt(source, tmp_path / 'out', CorruptOptions(('noise_30',), 1.0, 'constant', 0))
    clean, spoilt = (read(folder / '00001.jpg') for folder in (source, tmp_path / 'out/noise_30'))
    stream = Corruption('noise_30', Profile('constant', 1.0, 3), clip_seed('drive', 0))
    assert np.abs(spoilt.astype(int) - stream.apply(np.ascontiguousarray(clean), 1)).mean() < 1.5


def test_other_settings_are_not_mixed(tmp_path):
    source = make_images(tmp_path / 'drive')
    corrupt(source, tmp_path / 'out')
    with pytest.raises(ConfigError, match=r'expected the settings .*"seed": 8'):
        plan(source, tmp_path / 'out', CorruptOptions(('rain',), 3.0, 'fourier', 8))


def test_a_video_stays_a_video(tmp_path):
    path = tmp_path / 'drive.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 12.0, (64, 48))
    for index in range(5):
        writer.write(picture(index))
    writer.release()
    corrupt(path, tmp_path / 'out')
    capture = cv2.VideoCapture(str(tmp_path / 'out/rain/drive.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert capture.get(cv2.CAP_PROP_FPS) == 12.0
    assert capture.read()[1].shape == (48, 64, 3)
    assert [p.name for p in (tmp_path / 'out/rain').iterdir() if p.name.startswith('.')] == []


@pytest.mark.parametrize(
    ('prepare', 'text'),
    [
        (lambda root: root / 'missing', 'expected a video, a folder of images or a data set'),
        (lambda root: (root / 'a.txt').write_text('') or root / 'a.txt', 'expected a video'),
        (lambda root: (root / 'empty').mkdir() or root / 'empty', 'expected images in it'),
    ],
)
def test_errors_say_what_was_expected(tmp_path, prepare, text):
    with pytest.raises(DatasetError, match=text):
        plan(prepare(tmp_path), tmp_path / 'out', OPTIONS)


def test_results_do_not_go_into_the_source(tmp_path):
    source = make_images(tmp_path / 'rain')
    with pytest.raises(DatasetError, match='expected another folder than the source'):
        plan(source, tmp_path, OPTIONS)
    assert not (source / 'corruption.json').exists()
    with pytest.raises(DatasetError, match='expected a folder outside of'):
        plan(source, source / 'out', OPTIONS)


def test_hidden_files_are_no_images(tmp_path):
    root = make_dataset(tmp_path / 'set')
    (root / 'JPEGImages/cat').mkdir()
    (root / 'JPEGImages/cat/._00000.png').write_bytes(b'resource fork')
    corrupt(root, tmp_path / 'out')
    assert sorted(p.name for p in (tmp_path / 'out/rain/JPEGImages').iterdir()) == ['bear', 'dog']


def test_a_damaged_clip_does_not_stop_the_others(tmp_path):
    root = make_dataset(tmp_path / 'set')
    damaged = root / 'JPEGImages/bear/00001.png'
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(DatasetError, match='expected a whole JPEG or PNG'):
        run_jobs(plan(root, tmp_path / 'out', OPTIONS), num_processes=1)
    assert len(list((tmp_path / 'out/rain/JPEGImages/dog').iterdir())) == 3


def test_a_video_without_frames_leaves_nothing(tmp_path):
    path = tmp_path / 'drive.mp4'
    path.write_bytes(b'no video')
    with pytest.raises(DatasetError, match='expected a video that OpenCV can read'):
        corrupt(path, tmp_path / 'out')
    assert [p.name for p in (tmp_path / 'out/rain').iterdir()] == ['corruption.json']


def test_the_command(tmp_path):
    source = make_images(tmp_path / 'drive')
    options = ['--preset', 'fog,noise_10', '--severity', '2', '--processes', '1']
    result = CliRunner().invoke(app, ['corrupt', str(source), str(tmp_path / 'out'), *options])
    assert result.exit_code == 0, result.output
    assert '2 clips' in result.stdout
    settings = json.loads((tmp_path / 'out/fog/corruption.json').read_text())
    assert settings['severity'] == 2.0
    assert len(list((tmp_path / 'out/noise_10').glob('*.png'))) == 3
    bad = CliRunner().invoke(
        app, ['corrupt', str(source), str(tmp_path / 'x'), '--preset', 'hail']
    )
    assert bad.exit_code == 1
    assert "got 'hail'" in bad.output
