"""Imports point down only; ARCHITECTURE.md draws the layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'robust_vos_ros'

# Part of the package -> the other parts it may import.
ALLOWED = {
    'core': set(),
    'spatial': {'core'},
    'node': {'core', 'spatial'},
    'bags': {'core'},
    'data': {'core'},
    'eval': {'core', 'data'},
    'train': {'core', 'data'},
    'live': {'core', 'bags'},  # bags with a running ROS
    'demo': {'core', 'node', 'bags', 'live', 'spatial'},
    'client': {'core'},  # for the programs of others
    'node_program.py': {'node', 'data'},
    'cli': {'core', 'bags', 'data', 'eval', 'train', 'demo', 'live'},
    '__init__.py': set(),
}
ROS = {
    'rclpy', 'sensor_msgs', 'std_msgs', 'geometry_msgs', 'std_srvs', 'builtin_interfaces',
    'diagnostic_msgs', 'unique_identifier_msgs', 'lifecycle_msgs', 'rcl_interfaces', 'vision_msgs',
    'robust_vos', 'launch', 'launch_ros', 'cv_bridge', 'rosgraph_msgs',
}  # fmt: skip
MAY_IMPORT_ROS = {'node', 'live', 'demo', 'client'}
SAM2_SEAM = PACKAGE / 'core' / 'model.py'


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative imports hide the layer'
            yield node.module
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def part_of(path):
    return path.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize(
    'path', sorted(PACKAGE.rglob('*.py')), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_down(path):
    part = part_of(path)
    assert part in ALLOWED, f'{part} has no place in the layers; give it one'
    for module in imported_modules(path):
        names = module.split('.')
        if names[0] == 'robust_vos_ros' and len(names) > 1:
            assert names[1] == part or names[1] in ALLOWED[part], f'{path} imports {module}'
        if names[0] in ROS:
            assert part in MAY_IMPORT_ROS, (
                f'{path} imports {module}: only node, live, demo and client know ROS'
            )
        if names[0] == 'sam2':
            assert path == SAM2_SEAM, f'{path} imports {module}: only core/model.py knows sam2'


def test_core_loads_no_ros_module():
    modules = [f'robust_vos_ros.core.{path.stem}' for path in (PACKAGE / 'core').glob('[a-z]*.py')]
    program = f'import sys, {", ".join(modules)}; print(*sys.modules)'
    loaded = subprocess.run(
        [sys.executable, '-c', program], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    assert 'robust_vos_ros.core.tracker' in loaded
    assert not ROS.intersection(name.split('.')[0] for name in loaded)
    assert 'torchvision' not in loaded


@pytest.mark.ros
def test_the_client_loads_no_network():
    pytest.importorskip('rclpy')
    program = 'import sys, robust_vos_ros.client; print(*sys.modules)'
    loaded = subprocess.run(
        [sys.executable, '-c', program], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    assert not {'torch', 'sam2', 'robust_vos_ros.node'}.intersection(loaded)


def test_every_file_is_imported_by_another_one():
    imported = {module for path in PACKAGE.rglob('*.py') for module in imported_modules(path)}
    entry_points = {'robust_vos_ros.cli', 'robust_vos_ros.node_program'}
    entry_points.add('robust_vos_ros.client')
    trunks = {'robust_vos_ros.core.trunk', 'robust_vos_ros.core.mobilenet'}
    entry_points |= trunks  # named in config/models/*.yaml
    programs = (PACKAGE / 'demo').glob('*.py')  # some are started as processes
    entry_points |= {f'robust_vos_ros.demo.{path.stem}' for path in programs}
    for path in PACKAGE.rglob('[a-z]*.py'):
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        assert module in imported | entry_points, f'nobody imports {module}'
