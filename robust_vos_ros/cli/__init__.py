"""The command `robust-vos`."""

# Each module adds its commands to the application, in the order of --help.
from robust_vos_ros.cli import (
    bag,
    bag_live,
    bag_tools,
    bench,
    bench_node,
    calibrate,
    compare,
    console,
    corrupt,
    demo,
    evaluate,
    export,
    gates,
    render,
    training,
    watch,
    weights,
)
from robust_vos_ros.cli.base import app

__all__ = [
    'app',
    'bag',
    'bag_live',
    'bag_tools',
    'bench',
    'bench_node',
    'calibrate',
    'compare',
    'console',
    'corrupt',
    'demo',
    'evaluate',
    'export',
    'gates',
    'render',
    'training',
    'watch',
    'weights',
]
