"""Model files and checkpoints: shipped ones, official ones, and all that can be wrong."""

import hashlib
import http.server
import threading

import pytest
import torch

from robust_vos_ros.cli import downloads
from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.checkpoints import build_network, load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import load_spec, model_names
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt

# Millions of parameters as published by SAM 2 (README of facebookresearch/sam2).
OFFICIAL = {
    'sam2.1_hiera_tiny': 38.9,
    'sam2.1_hiera_small': 46.0,
    'sam2.1_hiera_base_plus': 80.8,
    'sam2.1_hiera_large': 224.4,
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('ROBUST_VOS_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def settings(**values):
    return ModelSettings(device='cpu', precision='fp32', **values)


def test_all_models_are_there():
    assert set(model_names()) == {'nano', *OFFICIAL}


@pytest.mark.parametrize('name', OFFICIAL)
def test_official_networks_have_the_published_size(name):
    net = build_network(load_spec(name))
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    assert millions == pytest.approx(OFFICIAL[name], abs=0.2)


def test_an_official_checkpoint_loads_strictly(tmp_path):
    """Same keys, shapes and nesting as Meta's file, with random numbers."""
    spec = load_spec('sam2.1_hiera_tiny')
    path = tmp_path / spec.file
    torch.save({'model': build_network(spec).state_dict()}, path)
    model = load_model(settings(name=spec.name, checkpoint=str(path)))
    assert (model.image_size, model.grid_size, model.hidden_dim, model.memory_dim) == (
        1024, 64, 256, 64,
    )  # fmt: skip
    assert model.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_hiera_tracks_with_its_four_tokens_per_pointer(make_scene):
    """The engine runs SAM 2's own trunk and widths; small images, random weights."""
    torch.manual_seed(0)
    spec = load_spec('sam2.1_hiera_tiny')
    spec = spec.model_copy(update={'overrides': {'image_size': 256}})
    net = build_network(spec).eval().requires_grad_(False)
    model = Model(net, name='test', weights_hash='', device=torch.device('cpu'), precision='fp32')
    scene = make_scene(1)
    tracker = VideoTracker(model, TrackerSettings())
    tracker.step(scene.frame(0))
    tracker.add([Prompt('it', mask=scene.masks(0)[0])])
    for index in range(1, 4):
        result = tracker.step(scene.frame(index))
    assert result.mask_logits.shape == (1, 64, 64)
    assert torch.isfinite(result.mask_logits).all()


def broken(kind, path):
    """Write a damaged nano checkpoint of one kind."""
    spec = load_spec('nano')
    source = model_files.find_weights(spec)
    state = checkpoints.read_state_dict(source)
    key = next(iter(state))
    if kind == 'truncated safetensors':
        path = path.with_suffix('.safetensors')
        path.write_bytes(source.read_bytes()[:100_000])
    elif kind == 'truncated pt':
        torch.save({'model': state}, path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == 'no checkpoint':
        path.write_text('<html>404</html>')
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'wrong nesting':
        torch.save(state, path)
    elif kind == 'missing key':
        torch.save({'model': {k: v for k, v in state.items() if k != key}}, path)
    elif kind == 'unexpected key':
        torch.save({'model': {**state, 'surplus': torch.zeros(1)}}, path)
    elif kind == 'another shape':
        torch.save({'model': {**state, key: torch.zeros(3)}}, path)
    elif kind == 'code':
        torch.save({'model': {**state, 'code': print}}, path)
    return path


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('truncated safetensors', 'truncated'),
        ('truncated pt', 'truncated'),
        ('no checkpoint', 'not a readable checkpoint'),
        ('empty', 'not a readable checkpoint'),
        ('wrong nesting', "must hold {'model': state_dict}"),
        ('missing key', '1 missing tensors'),
        ('unexpected key', 'first: surplus'),
        ('another shape', 'another shape'),
        ('code', 'not a readable checkpoint'),  # weights_only refuses to run it
    ],
)
def test_wrong_files_give_one_clear_sentence(tmp_path, kind, message):
    path = broken(kind, tmp_path / 'weights.pt')
    with pytest.raises(WeightsError, match=message) as caught:
        load_model(settings(checkpoint=str(path)))
    assert path.name in str(caught.value)
    assert '\n' not in str(caught.value)


def test_weights_of_another_model_are_refused():
    shipped = str(model_files.find_weights(load_spec('nano')))
    with pytest.raises(WeightsError, match=r'does not fit model sam2\.1_hiera_tiny'):
        load_model(settings(name='sam2.1_hiera_tiny', checkpoint=shipped))


def test_absent_weights_say_how_to_get_them(cache):
    with pytest.raises(WeightsError, match=r'weights fetch sam2\.1_hiera_small') as caught:
        load_model(settings(name='sam2.1_hiera_small'))
    assert str(cache) in str(caught.value)
    with pytest.raises(WeightsError, match='does not exist'):
        load_model(settings(checkpoint='/nowhere/nano.pt'))


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'name': 'sam9'}, 'expected one of nano, sam2.1'),
        ({'device': 'cuda:99'}, 'not available'),
        ({'device': 'toaster'}, 'not available'),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        load_model(ModelSettings(**values))


@pytest.fixture
def server(tmp_path):
    """Serve a folder over HTTP on the loopback interface."""
    folder = tmp_path / 'served'
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield folder, f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


def test_fetching_checks_the_content_and_keeps_it(cache, server):
    folder, url = server
    (folder / 'tiny.pt').write_bytes(b'good')
    digest = hashlib.sha256(b'good').hexdigest()
    spec = load_spec('sam2.1_hiera_tiny').model_copy(
        update={'url': f'{url}/tiny.pt', 'sha256': digest, 'file': 'tiny.pt'}
    )
    path = downloads.fetch_weights(spec, progress=False)
    assert path == cache / 'tiny.pt'
    assert path.read_bytes() == b'good'
    (folder / 'tiny.pt').unlink()
    assert downloads.fetch_weights(spec, progress=False) == path  # from the cache

    (folder / 'tiny.pt').write_bytes(b'evil')
    path.unlink()
    with pytest.raises(WeightsError, match='expected a file with the known checksum'):
        downloads.fetch_weights(spec, progress=False)
    assert not path.exists()


def test_fetching_without_a_network_says_where_to_put_the_file(cache):
    spec = load_spec('sam2.1_hiera_tiny')
    spec = spec.model_copy(update={'url': 'http://127.0.0.1:9/tiny.pt'})
    with pytest.raises(WeightsError, match='put it at') as caught:
        downloads.fetch_weights(spec, progress=False)
    assert str(cache / spec.file) in str(caught.value)
