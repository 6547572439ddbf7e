"""Camera, node and console on a clip that never ends: `python -m robust_vos_ros.demo.console`."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

from rich.console import Console

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.demo.operator import IMAGE_TOPIC
from robust_vos_ros.demo.processes import ChildProcess, find_free_domain
from robust_vos_ros.demo.transport import make_room_for_images
from robust_vos_ros.live.interrupts import Interrupts

# How long a picture can be pointed at; robust_vos.launch.py sets the same with console:=true.
PROMPT_BUFFER_S = 20.0
_LOOK_S = 0.2
_ADDRESS = 'open http://'


def main(args: list[str] | None = None) -> int:
    """Run all three until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog='console', description=__doc__.splitlines()[0])
    parser.add_argument('--video', default='', help='video file; empty = a generated clip')
    parser.add_argument('--rate', type=float, default=10.0, help='images per second')
    parser.add_argument('--port', type=int, default=8080, help='TCP port of the page')
    parser.add_argument('--out', type=Path, default=Path('out/console'), help='folder for logs')
    options = parser.parse_args(args)
    options.out.mkdir(parents=True, exist_ok=True)
    if 'ROS_DOMAIN_ID' not in os.environ:
        os.environ['ROS_DOMAIN_ID'] = str(find_free_domain(random.Random()))  # noqa: S311
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    make_room_for_images(options.out / 'fastdds.xml')
    try:
        _run(options)
    except KeyboardInterrupt:
        return 0
    except RobustVosError as error:
        Console(stderr=True, soft_wrap=True).print(f'[red]failed:[/red] {error}')
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    out, log = options.out, options.out / 'console.log'
    node = ['--ros-args', '-r', f'image:={IMAGE_TOPIC}']
    node += ['-p', f'tracking.prompt_buffer_s:={PROMPT_BUFFER_S}']
    camera = ['--autoplay', '--loop', '--topic', IMAGE_TOPIC, '--rate', str(options.rate)]
    camera += ['--video', options.video] if options.video else []
    console = ['--ros-args', '-p', f'port:={options.port}']
    with (
        Interrupts() as interrupts,
        ChildProcess('node', 'robust_vos_ros.node_program', node, out / 'node.log') as first,
        ChildProcess('camera', 'robust_vos_ros.demo.camera', camera, out / 'camera.log') as second,
        ChildProcess('console', 'robust_vos_ros.console.program', console, log) as third,
    ):
        screen = Console(soft_wrap=True)
        screen.print(f'starting node, camera and console, logs in {out}; Ctrl-C ends them')
        said = False
        while True:
            interrupts.check()
            for child in (first, second, third):
                child.check()
            lines = log.read_text('utf-8', errors='replace').splitlines()
            address = next((line for line in lines if _ADDRESS in line), '')
            if address and not said:
                screen.print(address[address.index(_ADDRESS) :])
                said = True
            time.sleep(_LOOK_S)


if __name__ == '__main__':
    sys.exit(main())
