"""Imports point down only; ARCHITECTURE.md draws the layers."""

import ast
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'robust_vos_ros'

# Part of the package -> the other parts it may import.
ALLOWED = {
    'core': set(),
    'cluster.py': {'core'},  # Ray
    'visualization.py': {'core'},
    'files.py': set(),
    'video.py': {'core'},
    'ros_types': {'core', 'visualization'},  # what node and bags share, without ROS
    'spatial': {'core'},  # depth and masks to positions, without ROS
    'node': {'core', 'ros_types', 'visualization', 'spatial'},
    'bags': {'core', 'ros_types', 'visualization', 'cluster', 'files', 'video'},
    'data': {'core', 'files', 'video'},
    'eval': {'core', 'data', 'visualization', 'cluster', 'files'},
    'train': {'core', 'data', 'files'},
    'live': {'core', 'ros_types', 'bags'},  # bags with a running ROS
    'demo': {
        'core',
        'ros_types',
        'visualization',
        'node',
        'client',
        'bags',
        'live',
        'spatial',
        'files',
        'video',
    },
    'client': {'core', 'ros_types'},  # for the programs of others
    # a page in the browser, for nodes and for bags
    'console': {'core', 'ros_types', 'visualization', 'client', 'bags'},
    'node_program.py': {'node', 'data'},
    'cli': {
        'core',
        'ros_types',
        'bags',
        'data',
        'eval',
        'train',
        'demo',
        'live',
        'files',
        'console',
    },
    '__init__.py': set(),
}
ROS = {
    'rclpy', 'sensor_msgs', 'std_msgs', 'geometry_msgs', 'std_srvs', 'builtin_interfaces',
    'diagnostic_msgs', 'unique_identifier_msgs', 'lifecycle_msgs', 'rcl_interfaces', 'vision_msgs',
    'robust_vos', 'launch', 'launch_ros', 'cv_bridge', 'rosgraph_msgs', 'tf2_ros', 'bond',
    'tf2_msgs', 'visualization_msgs',
}  # fmt: skip
MAY_IMPORT_ROS = {'node', 'live', 'demo', 'client', 'console'}
# Only these of the console know ROS: it shows bags without it.
CONSOLE = PACKAGE / 'console'
CONSOLE_WITH_ROS = {'camera', 'graph', 'hub', 'program', 'requests'}
NETWORK = PACKAGE / 'core' / 'network'
# Attributes of sam2's modules that only core/network/ may use; network/model.py lists them.
SAM2_INTERNALS = {
    'no_mem_embed', 'maskmem_tpos_enc', 'no_obj_ptr', 'no_obj_embed_spatial', 'obj_ptr_proj',
    'obj_ptr_tpos_proj', 'mask_downsample', 'sam_prompt_encoder', 'sam_mask_decoder',
    'memory_encoder', 'forward_image', 'freqs_cis', 'compute_cis', 'cross_attn_image',
    'position_encoding', 'num_maskmem', 'max_obj_ptrs_in_encoder', 'backbone_stride',
    'multimask_output_in_sam', 'multimask_min_pt_num', 'multimask_max_pt_num',
    'binarize_mask_from_pts_for_mem_enc', 'sigmoid_scale_for_mem_enc', 'sigmoid_bias_for_mem_enc',
}  # fmt: skip
MAX_FILES = 16  # of a folder of core


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
                f'{path} imports {module}: only node, live, demo, client and console know ROS'
            )
        if names[0] == 'sam2':
            assert path.parent == NETWORK, (
                f'{path} imports {module}: only core/network imports sam2'
            )


@pytest.mark.parametrize(
    'path',
    sorted(set(PACKAGE.rglob('*.py')) - set(NETWORK.rglob('*.py'))),
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_only_the_network_uses_the_inside_of_sam2(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Attribute):
            assert node.attr not in SAM2_INTERNALS, f'{path}:{node.lineno} uses .{node.attr}'


def test_the_folders_of_core_stay_small_enough_to_know():
    folders = Counter(path.parent.name for path in (PACKAGE / 'core').rglob('[a-z]*.py'))
    assert max(folders.values()) <= MAX_FILES, 'merge what is one idea, or make a folder of it'


def test_core_ros_types_and_bags_in_the_console_load_no_ros_module():
    files = [*(PACKAGE / 'core').rglob('[a-z]*.py'), *(PACKAGE / 'ros_types').glob('[a-z]*.py')]
    files.append(CONSOLE / 'bag_source.py')
    if importlib.util.find_spec('aiohttp') is not None:
        files.append(CONSOLE / 'server.py')
    modules = ['.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in files]
    program = f'import sys, {", ".join(modules)}; print(*sys.modules)'
    loaded = subprocess.run(
        [sys.executable, '-c', program], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    assert 'robust_vos_ros.core.tracker' in loaded
    assert not ROS.intersection(name.split('.')[0] for name in loaded)
    assert 'torchvision' not in loaded


@pytest.mark.ros
@pytest.mark.parametrize('module', ['client', 'console.program'])
def test_the_client_loads_no_network(module):
    pytest.importorskip('rclpy')
    program = f'import sys, robust_vos_ros.{module}; print(*sys.modules)'
    loaded = subprocess.run(
        [sys.executable, '-c', program], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    assert not {'torch', 'sam2', 'robust_vos_ros.node'}.intersection(loaded)


def test_parts_of_the_console_know_ros_or_the_network_but_not_both():
    for path in CONSOLE.glob('*.py'):
        known = {module.split('.')[0] for module in imported_modules(path)} & (ROS | {'aiohttp'})
        assert path.stem in CONSOLE_WITH_ROS or not known & ROS, f'{path} imports {known}'
        assert 'aiohttp' not in known or path.stem == 'server', f'{path} imports aiohttp'


def test_every_file_is_imported_by_another_one():
    imported = {module for path in PACKAGE.rglob('*.py') for module in imported_modules(path)}
    entry_points = {'robust_vos_ros.cli', 'robust_vos_ros.node_program'}
    entry_points |= {'robust_vos_ros.client', 'robust_vos_ros.console.program'}
    entry_points.add('robust_vos_ros.core.network.backbone')  # named in config/models/nano.yaml
    programs = (PACKAGE / 'demo').glob('*.py')  # some are started as processes
    entry_points |= {f'robust_vos_ros.demo.{path.stem}' for path in programs}
    for path in PACKAGE.rglob('[a-z]*.py'):
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        assert module in imported | entry_points, f'nobody imports {module}'
