"""Download of weights."""

from __future__ import annotations

from pathlib import Path

import pooch
import requests

from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.network.model_files import ModelSpec, find_weights
from robust_vos_ros.core.settings import cache_dir


def fetch_weights(spec: ModelSpec, *, progress: bool = True) -> Path:
    """Download the weights of a model into the cache, if they are not there yet.

    Raises:
        WeightsError: The download failed, or the file has another checksum.
    """
    if not spec.url:
        return find_weights(spec)
    try:
        path = pooch.retrieve(
            spec.url, f'sha256:{spec.sha256}', spec.file, cache_dir(), progressbar=progress
        )
    except ValueError as error:
        raise WeightsError(
            f'{spec.url}: expected a file with the known checksum: {error}; try again, or put '
            f'{spec.file} with sha256 {spec.sha256} into {cache_dir()}'
        ) from error
    except (requests.RequestException, OSError) as error:
        raise WeightsError(
            f'cannot download {spec.url} ({type(error).__name__}); on a machine with a network '
            f'download it there and put it at {cache_dir() / spec.file}'
        ) from error
    return Path(path)
