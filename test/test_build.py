"""The set-up scripts, the packaging, and what the build installs."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the files that the set-up and pip read, without any environment."""
    target = tmp_path / 'tree'
    folders = ('config', 'msg', 'srv', 'launch', 'requirements', 'robust_vos_ros', 'scripts')
    for folder in folders:
        shutil.copytree(
            ROOT / folder, target / folder, ignore=shutil.ignore_patterns('__pycache__')
        )
    for name in ('CMakeLists.txt', 'LICENSE', 'package.xml', 'pyproject.toml', 'setup.py'):
        shutil.copy(ROOT / name, target)
    return target


def run_set_up(tree, **env):
    command = [sys.executable, tree / 'scripts' / 'setup_env.py']
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_set_up_can_tell_an_old_python_that_it_is_too_old():
    source = (ROOT / 'scripts' / 'setup_env.py').read_text(encoding='utf-8')
    ast.parse(source, feature_version=(3, 6))


@pytest.mark.parametrize(
    ('present', 'env', 'message'),
    [
        # the messages cannot be compiled
        ([], {}, 'No c++ found, and the messages must be compiled; install it'),
        (['c++'], {}, 'No cc found'),
        (['c++', 'cc'], {}, 'No cmake found'),
        # a misspelt choice must not become the default
        ([], {'DISTRO': 'jazy'}, "DISTRO must be one of jazzy, kilted, got 'jazy'"),
    ],
)
def test_set_up_says_in_one_sentence_what_is_missing(tree, tmp_path, present, env, message):
    programs = tmp_path / 'bin'
    programs.mkdir()
    for name in present:
        (programs / name).touch(mode=0o755)
    result = run_set_up(tree, PATH=str(programs), **env)
    assert result.returncode == 1
    assert result.stderr.startswith('set-up failed: ')
    assert message in result.stderr
    assert result.stderr.count('\n') == 1
    assert not (tree / '.venv').exists()


def test_a_python_that_is_too_new_or_old_is_named(tree):
    script = tree / 'scripts' / 'setup_env.py'
    text = script.read_text(encoding='utf-8')
    script.write_text(text.replace('((3, 10), (3, 14))', '((3, 7), (3, 8))'), encoding='utf-8')
    result = run_set_up(tree, PATH=os.environ['PATH'])
    assert result.returncode == 1
    assert 'needs Python 3.7 to 3.8' in result.stderr
    assert sys.executable in result.stderr


def test_every_failed_step_ends_in_a_sentence(tree):
    # No index, no wheels: pip fails at once, offline too.
    env = {'PIP_NO_INDEX': '1', 'PIP_CONFIG_FILE': os.devnull, 'PATH': os.environ['PATH']}
    result = run_set_up(tree, **env)
    assert result.returncode == 1
    assert 'set-up failed: pip could not install the packages' in result.stderr
    assert str(tree / '.venv' / 'setup.log') in result.stderr


def test_repair_replaces_build_time_folders_once(tmp_path):
    export = tmp_path / 'share' / 'x' / 'cmake' / 'export_xExport.cmake'
    export.parent.mkdir(parents=True)
    export.write_text(
        'INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include;'
        '/opt/python/cp311-cp311/include/python3.11;'
        '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"\n'
    )
    command = [sys.executable, ROOT / 'scripts' / 'repair_ros_wheels.py', tmp_path]
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs == ['1 files repaired\n', '0 files repaired\n']
    folders = export.read_text().split('"')[1].split(';')
    assert folders[0] == '${_IMPORT_PREFIX}/include'
    assert Path(folders[1], 'Python.h').is_file()
    assert Path(folders[2], 'numpy', 'arrayobject.h').is_file()


def test_pip_installs_the_engine_with_its_data_and_nothing_named_robust_vos(tree, tmp_path):
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '-w', tmp_path, tree], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob('*.whl')
    version = ET.parse(ROOT / 'package.xml').getroot().findtext('version')
    assert wheel.name == f'robust_vos_ros-{version}-py3-none-any.whl'
    names = zipfile.ZipFile(wheel).namelist()
    stem = f'robust_vos_ros-{version}'
    assert {name.split('/')[0] for name in names} == {
        'robust_vos_ros',
        f'{stem}.data',
        f'{stem}.dist-info',
    }
    packaged = {
        name
        for name in names
        if name.endswith(('.py', '.safetensors', '.calibration.json')) or '/static/' in name
    }
    source = [*ROOT.glob('robust_vos_ros/**/*.py'), *ROOT.glob('robust_vos_ros/weights/*')]
    source += ROOT.glob('robust_vos_ros/console/static/*')
    assert packaged == {str(path.relative_to(ROOT)) for path in source if path.is_file()}
    shared = {name.partition('share/robust_vos/')[2] for name in names if '.data/' in name}
    source = [*ROOT.glob('config/**/*.yaml'), *ROOT.glob('msg/*.msg')]
    assert shared == {str(path.relative_to(ROOT)) for path in source}


# Where the name of the package is not that of its module.
PACKAGE_OF = {
    'PIL': 'pillow', 'cv2': 'opencv-python-headless', 'hydra': 'hydra-core', 'yaml': 'pyyaml',
    'tf2_ros': 'tf2_ros_py',
}  # fmt: skip
ROSDEP_OF = {'opencv-python-headless': 'opencv', 'pillow': 'pil', 'pyyaml': 'yaml'}


def imported_packages():
    """Return the packages that the product imports, but those of Python and its own."""
    names = set()
    for folder in ('robust_vos_ros', 'launch'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split('.')[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names.add(node.module.split('.')[0])
    names -= {*sys.stdlib_module_names, 'robust_vos', 'robust_vos_ros', 'sam2'}
    return {PACKAGE_OF.get(name, name) for name in names}


def declared_packages():
    """Return the names in package.xml, and those for pip with the extras."""
    root = ET.parse(ROOT / 'package.xml').getroot()
    ros = {item.text for item in root if item.tag.endswith('depend')}
    lines = (ROOT / 'requirements' / 'python.txt').read_text(encoding='utf-8').splitlines()
    extras = (ROOT / 'pyproject.toml').read_text(encoding='utf-8').partition('optional-dep')[2]
    lines += re.findall(r'^  "([^"]*)"', extras.partition('\n[project.scripts]')[0], re.MULTILINE)
    return ros, {re.match(r'[\w-]+', line)[0] for line in lines if line and line[0] != '#'}


def test_every_imported_package_is_declared():
    ros, pip = declared_packages()
    assert imported_packages() <= ros | pip


def test_package_xml_and_requirements_agree():
    """What apt has under a name of rosdep is needed; which versions, requirements say."""
    ros, pip = declared_packages()
    keys = {f'python3-{ROSDEP_OF.get(name, name)}' for name in pip}
    tools = {'python3-venv'}  # holds the rest
    assert {name for name in ros if name.startswith('python3-')} <= keys | tools


def test_colcon_test_runs_every_folder_of_tests():
    text = (ROOT / 'CMakeLists.txt').read_text(encoding='utf-8')
    parts = re.search(r'foreach\(part ([\w ]+)\)', text)[1].split()
    folders = {path.name for path in (ROOT / 'test').iterdir() if path.is_dir()}
    assert set(parts) == folders - {'__pycache__', 'corpus'}, 'the corpus has no tests'


def test_the_image_is_installed_as_the_readme_says():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    block = readme.partition('src/robust_vos\n')[2].partition('```')[0]
    image = (ROOT / 'docker' / 'Dockerfile').read_text(encoding='utf-8')
    # without line breaks, as the shell reads them
    block, image = (re.sub(r'\s*\\\n\s*', ' ', text) for text in (block, image))
    commands = [part for line in block.splitlines() for part in line.split(' && ')]
    assert len(commands) > 5
    assert [command for command in commands if command not in image] == []


def test_the_workflow_runs_what_the_set_up_supports():
    text = (ROOT / '.github' / 'workflows' / 'ci.yaml').read_text(encoding='utf-8')
    jobs = yaml.safe_load(text)['jobs']
    distros = sorted(path.stem.removeprefix('ros-') for path in ROOT.glob('requirements/ros-*'))
    assert [job['strategy']['matrix']['distro'] for job in jobs.values()] == [distros] * len(jobs)
    set_up = (ROOT / 'scripts' / 'setup_env.py').read_text(encoding='utf-8')
    low, high = ast.literal_eval(re.search(r'^PYTHON_RANGE = (.*)$', set_up, re.MULTILINE)[1])
    versions = [f'3.{minor}' for minor in range(low[1], high[1] + 1)]
    assert jobs['wheels']['strategy']['matrix']['python'] == versions


@pytest.mark.ros
@pytest.mark.parametrize(
    'path', [*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv')], ids=lambda path: path.stem
)
def test_every_interface_is_generated(path):
    pytest.importorskip('rclpy')
    kind = path.suffix[1:]
    assert hasattr(importlib.import_module(f'robust_vos.{kind}'), path.stem)


@pytest.mark.ros
def test_the_build_installs_the_programs_and_the_files_that_launch_needs():
    index = pytest.importorskip('ament_index_python.packages')
    prefix = Path(index.get_package_prefix('robust_vos'))
    for program in (
        'lib/robust_vos/robust_vos_node',
        'lib/robust_vos/robust_vos_camera',
        'lib/robust_vos/robust_vos_console',
        'lib/robust_vos/robust-vos',
        'bin/robust-vos',
    ):
        assert os.access(prefix / program, os.X_OK), program
        # launch files and systemd know nothing of the virtual environment it was built in
        interpreter = (prefix / program).read_text(encoding='utf-8').splitlines()[0]
        assert Path(interpreter.removeprefix('#!')).samefile(sys.executable), program
    share = prefix / 'share' / 'robust_vos'
    for pattern in ('config/**/*.yaml', 'launch/*.py'):
        source = {path.relative_to(ROOT) for path in ROOT.glob(pattern)}
        assert source == {path.relative_to(share) for path in share.glob(pattern)}


@pytest.mark.skipif(not (ROOT / '.venv').exists(), reason='not set up by make')
def test_sourcing_the_environment_twice_adds_nothing():
    show = 'echo "$AMENT_PREFIX_PATH $PATH $PYTHONPATH $LD_LIBRARY_PATH"'
    script = f'source scripts/env.sh && {show} && source scripts/env.sh && {show}'
    result = subprocess.run(
        ['bash', '-c', script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    once, twice = result.stdout.splitlines()
    assert once == twice
    assert once.startswith(f'{ROOT}/')
