"""The program robust_vos_node: the node, with the corruptions of `debug.corruption`."""

from __future__ import annotations

import functools
import sys

from robust_vos_ros.data.corruption import corrupt_live
from robust_vos_ros.node.lifecycle_node import RobustVosNode
from robust_vos_ros.node.program import run


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit code."""
    return run(functools.partial(RobustVosNode, corrupt=corrupt_live), args)


if __name__ == '__main__':
    sys.exit(main())
