"""Connection to a Ray cluster; Ray is an optional extra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from robust_vos_ros.core.errors import ConfigError


def import_ray() -> Any:
    """Import Ray.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray  # noqa: PLC0415  an optional extra
    except ImportError as error:
        raise ConfigError("expected Ray to be installed: pip install 'ray~=2.60'") from error
    return ray


@contextlib.contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, inside `with`.

    Args:
        ray: The module.
        address: `local` starts Ray on this machine; otherwise as in `ray.init`: `auto`, HOST:PORT
            or ray://HOST:PORT.

    Raises:
        ConfigError: The cluster does not answer.
    """
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f'ray: expected a cluster at {address!r}, got {error}') from error
    try:
        yield
    finally:
        ray.shutdown()
