"""Seeds and finds of the fuzzer, replayed: `make fuzz` searches for more."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip('aiohttp', reason='the extra console')
ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / 'test' / 'corpus'
pytestmark = pytest.mark.filterwarnings('ignore:__array__')  # of pycocotools with NumPy 2


@pytest.fixture(scope='module')
def targets():
    spec = importlib.util.spec_from_file_location(
        'fuzz_targets', ROOT / 'scripts' / 'fuzz_targets.py'
    )
    module = sys.modules['fuzz_targets'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.TARGETS
    del sys.modules['fuzz_targets']


def test_every_target_has_a_corpus(targets):
    assert {path.name for path in CORPUS.iterdir()} == set(targets)


@pytest.mark.parametrize(
    'path', sorted(path for path in CORPUS.rglob('*') if path.is_file()),
    ids=lambda path: f'{path.parent.name}-{path.name}',
)  # fmt: skip
def test_no_input_breaks_its_target(targets, path):
    targets[path.parent.name](path.read_bytes())
