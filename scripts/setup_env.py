"""Set up everything that `make` needs: a virtual environment, ROS 2, the messages of this package.

Only outdated parts are set up, so every make target runs it first. ROS 2 is the sourced
distribution if there is one, else a set of wheels (requirements/ros-*.txt). The syntax is that of
Python 3.6, so that an old Python prints a clear error.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DISTRO = 'jazzy'
PYTHON_RANGE = ((3, 10), (3, 14))
# Extras of pyproject.toml; large ones that are rarely needed only on request.
EXTRAS = ['dev', 'train', 'eval', 'console'] + os.environ.get('EXTRAS', '').split()


class SetupError(Exception):
    """Something is missing on this machine; the text is one sentence for the user."""


class Layout:
    """Paths of the environment for one choice of ROS 2, and the identity of its sources."""

    def __init__(self, distro):
        self.wheels = ROOT / 'requirements' / 'ros-{}.txt'.format(distro) if distro else None
        default = not distro or distro == DEFAULT_DISTRO
        self.venv = ROOT / ('.venv' if default else '.venv-' + distro)
        self.base = ROOT if default else self.venv / 'colcon'
        self.python = self.venv / 'bin' / 'python'
        self.prefix = self.base / 'install' / 'robust_vos'
        self.log = self.venv / 'setup.log'
        ros = self.wheels.read_text() if distro else 'sourced ' + os.environ['ROS_DISTRO']
        self.identity = '\n'.join(
            [str(self.venv), sys.base_prefix, platform.python_version(), ros]
        )


def find_distro():
    """Return the name of the set of wheels to use, None to use the sourced distribution.

    Raises:
        SetupError: DISTRO names no set of wheels.
    """
    distro = os.environ.get('DISTRO')
    known = sorted(path.stem[4:] for path in (ROOT / 'requirements').glob('ros-*.txt'))
    if distro:
        if distro not in known:
            raise SetupError(
                'DISTRO must be one of {}, got {!r}; leave it out to use a sourced ROS 2.'.format(
                    ', '.join(known), distro
                )
            )
        return distro
    if os.environ.get('ROS_DISTRO') and os.environ.get('AMENT_PREFIX_PATH'):
        test = [sys.executable, '-c', 'import rclpy']
        if subprocess.call(test, stderr=subprocess.DEVNULL) == 0:
            return None
    return DEFAULT_DISTRO


def check_machine(distro):
    """Raise SetupError unless this machine has what the set-up cannot install."""
    low, high = PYTHON_RANGE
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            'robust_vos needs Python {}.{} to {}.{}, but {} is {}; choose another one with '
            'make PYTHON=/path/to/python3.'.format(
                *low, *high, sys.executable, platform.python_version()
            )
        )
    if distro and (platform.system(), platform.machine()) != ('Linux', 'x86_64'):
        raise SetupError(
            'ROS 2 comes as wheels for Linux on x86-64 only, this is {} on {}; install ROS 2 and '
            'source its setup.bash first.'.format(platform.system(), platform.machine())
        )
    for program, package in (('c++', 'g++'), ('cc', 'gcc'), ('cmake', 'cmake')):
        if not shutil.which(program):
            raise SetupError(
                'No {} found, and the messages must be compiled; install it, for example with '
                'apt install {}.'.format(program, package)
            )
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        raise SetupError(
            'The headers of {} are missing and the messages must be compiled; install them, for '
            'example with apt install python3-dev.'.format(sys.executable)
        )


def run(layout, title, command, failure, env=None):
    """Run a command with its output in the log.

    Raises:
        SetupError: The command failed; the end of the log is printed.
    """
    print('set-up: {} ...'.format(title), end=' ', flush=True)
    start = time.monotonic()
    with open(str(layout.log), 'a') as log:
        log.write('$ {}\n'.format(' '.join(map(str, command))))
        log.flush()
        code = subprocess.call(
            [str(part) for part in command], cwd=str(ROOT), env=env, stdout=log, stderr=log
        )
    print('{:.0f} s'.format(time.monotonic() - start), flush=True)
    if code:
        lines = layout.log.read_text(errors='replace').splitlines()
        print('\n'.join(lines[-25:]), file=sys.stderr)
        raise SetupError('{} (all output: {}).'.format(failure, layout.log))


def tool_env(layout, **more):
    """Return the environment for pip and colcon: this one, without variables that disturb them."""
    # The flags of the calling make would limit the inner build to one core.
    env = {
        key: value for key, value in os.environ.items() if 'MAKE' not in key and key != 'MFLAGS'
    }
    if layout.wheels:  # no other ROS beside the one in the virtual environment
        for key in ('PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE'):
            env.pop(key, None)
        env['AMENT_PREFIX_PATH'] = env['CMAKE_PREFIX_PATH'] = str(layout.venv)
    env['PATH'] = '{}:{}'.format(layout.venv / 'bin', env['PATH'])
    env.update(more)
    return env


def make_venv(layout):
    """Create the virtual environment; one for another Python, path or ROS is replaced."""
    # The build is removed too, because its CMake cache names the old environment.
    for folder in (layout.venv, layout.base / 'build' / 'robust_vos', layout.prefix):
        shutil.rmtree(str(folder), ignore_errors=True)
    layout.venv.mkdir()
    options = [] if layout.wheels else ['--system-site-packages']
    run(
        layout,
        'virtual environment {}'.format(layout.venv.name),
        [sys.executable, '-m', 'venv'] + options + [layout.venv],
        'No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv',
    )


def install_packages(layout):
    """Install the packages of requirements/, and this one from its source tree."""
    env = tool_env(layout, SAM2_BUILD_CUDA='0', PIP_DISABLE_PIP_VERSION_CHECK='1')
    pip = [layout.python, '-m', 'pip', 'install', '-q', '--progress-bar', 'off']
    failure = 'pip could not install the packages, for the reason in the lines above'
    build_tools = ['setuptools>=77,<80', 'wheel', 'ninja~=1.13']  # below 80: a condition of colcon
    run(layout, 'build tools', pip + build_tools, failure, env)

    # Without build isolation: setuptools is installed already, and an isolated build of sam2 would
    # download a second torch.
    pip.append('--no-build-isolation')
    everything = ['-e', '.[{}]'.format(','.join(EXTRAS))]
    everything += ['-c', ROOT / 'requirements' / 'tests.txt']
    if layout.wheels:
        everything += ['-r', layout.wheels, '-c', layout.wheels]
    else:
        everything += list_constraints(layout)
    run(layout, 'packages (some minutes on a new machine)', pip + everything, failure, env)
    for title in ('sam2', 'words'):
        bare = ['--no-deps', '-r', ROOT / 'requirements' / (title + '.txt')]
        run(layout, title, pip + bare, failure, env)
    if layout.wheels:
        repair = [layout.python, ROOT / 'scripts' / 'repair_ros_wheels.py', layout.venv]
        failure = 'The ROS wheels could not be repaired'
        run(layout, 'repair of the ROS wheels', repair, failure, env)


def list_constraints(layout):
    """Return pip options that keep the NumPy for which a sourced distribution was compiled."""
    command = [sys.executable, '-c', 'import numpy; print("numpy==" + numpy.__version__)']
    constraints = layout.venv / 'constraints.txt'
    constraints.write_bytes(subprocess.check_output(command))
    return ['-c', constraints]


def build(layout):
    """Build and install this package with colcon.

    Raises:
        SetupError: colcon is missing or failed.
    """
    env = tool_env(layout)
    colcon = shutil.which('colcon', path=env['PATH'])
    if not colcon:
        raise SetupError(
            'No colcon found; on Ubuntu: apt install python3-colcon-common-extensions.'
        )
    command = [colcon, '--log-base', layout.base / 'log', 'build', '--symlink-install']
    command += ['--paths', ROOT, '--build-base', layout.base / 'build']
    command += ['--install-base', layout.base / 'install', '--cmake-args']
    command += ['-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF']
    command += ['-DPython3_EXECUTABLE={}'.format(layout.python), '-DPython3_FIND_VIRTUALENV=ONLY']
    run(layout, 'messages and services', command, 'colcon could not build the package', env)


def hash_files(paths, extra=''):
    """Return a hash over the names and contents of files."""
    digest = hashlib.sha256(extra.encode())
    for path in sorted(paths):
        digest.update(str(path.relative_to(ROOT)).encode() + b'\0')
        digest.update(path.read_bytes() + b'\0')
    return digest.hexdigest()


def hash_packages(layout):
    """Return the hash of everything that determines the installed packages."""
    # Tool settings, from the first [tool.*] table on, have no effect here and change often.
    project = (ROOT / 'pyproject.toml').read_text().split('\n[tool.')[0]
    paths = [ROOT / 'scripts' / name for name in ('setup_env.py', 'repair_ros_wheels.py')]
    paths += [ROOT / 'setup.py', ROOT / 'package.xml']
    paths += [
        ROOT / 'requirements' / (name + '.txt') for name in ('python', 'sam2', 'words', 'tests')
    ]
    return hash_files(paths, layout.identity + project + ' '.join(EXTRAS))


def hash_build(layout):
    """Return the hash of everything that determines the installed build."""
    paths = [ROOT / 'package.xml', ROOT / 'CMakeLists.txt']
    for folder in ('msg', 'srv', 'scripts'):
        paths += [path for path in (ROOT / folder).iterdir() if path.is_file()]
    # These are installed as links: changed content needs no build, but a new name does.
    names = []
    for folder in ('config', 'launch', 'robust_vos_ros'):
        for pattern in ('*.py', '*.yaml', '*.rviz', '*.safetensors', '*.html', '*.js', '*.css'):
            names += sorted(str(path) for path in (ROOT / folder).rglob(pattern))
    return hash_files(paths, layout.identity + '\n'.join(names))


def is_current(stamp, value):
    """Return whether a stamp file holds a value."""
    with contextlib.suppress(OSError):
        return stamp.read_text() == value
    return False


def set_up():
    """Bring the environment up to date.

    Raises:
        SetupError: Something is missing on this machine.
    """
    distro = find_distro()
    layout = Layout(distro)
    made_for = layout.venv / 'made-for.txt'
    packages = layout.venv / 'packages.sha256'
    built = layout.prefix / '.built.sha256'
    package_hash, build_hash = hash_packages(layout), hash_build(layout)
    usable = layout.python.exists() and is_current(made_for, layout.identity)
    if usable and is_current(packages, package_hash) and is_current(built, build_hash):
        return
    check_machine(distro)
    if not usable:
        make_venv(layout)
        made_for.write_text(layout.identity)
    if not is_current(packages, package_hash):
        install_packages(layout)
        packages.write_text(package_hash)
    build(layout)
    built.write_text(build_hash)


def main():
    """Set up, one process at a time; return the exit status."""
    lock = os.open(str(ROOT / 'scripts'), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        set_up()
    except SetupError as error:
        print('set-up failed: {}'.format(error), file=sys.stderr)
        return 1
    finally:
        os.close(lock)
    return 0


if __name__ == '__main__':
    sys.exit(main())
