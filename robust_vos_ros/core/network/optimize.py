"""Choose the device and precision of a network, and speed it up there.

Results change by rounding at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.two_way import TwoWayTransformer

_FEW_CHANNELS = 16


def optimize(net: Any, device: torch.device, precision: str, *, portable: bool = False) -> None:
    """Prepare a network in evaluation mode for inference.

    Args:
        net: A `SAM2Base`.
        device: Device of inference.
        precision: fp32 or bf16.
        portable: Use no operators of one device, so that the network can be exported.
    """
    speed_up_norms(net)
    _fuse_batch_norms(net)
    if precision == 'bf16':
        # Autocast would convert these weights again for every frame.
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.to(torch.bfloat16)
    net.to(device, memory_format=torch.channels_last)
    if device.type == 'cpu' and torch.backends.mkldnn.is_available() and not portable:
        _fuse_clamps(net)
        _pack_convolutions(net.image_encoder)
        net.sam_mask_decoder.transformer = TwoWayTransformer(net.sam_mask_decoder.transformer)
    neck = net.image_encoder.neck
    neck.position_encoding = _KeptPosition(neck.position_encoding)


def speed_up_norms(net: nn.Module) -> None:
    """Replace sam2's LayerNorm2d by a faster module with the same parameters."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == 'LayerNorm2d':  # only model.py imports sam2
                setattr(module, name, _ChannelNorm(child))


def _fuse_batch_norms(net: nn.Module) -> None:
    for module, index in _pairs(net, nn.Conv2d, nn.BatchNorm2d):
        module[index] = fuse_conv_bn_eval(module[index], module[index + 1])
        module[index + 1] = nn.Identity()


def _fuse_clamps(net: nn.Module) -> None:
    for module, index in _pairs(net, nn.Conv2d, nn.ReLU6):
        module[index] = PackedConv(module[index], clamped=True)
        module[index + 1] = nn.Identity()


def _pairs(net: nn.Module, first: type, second: type) -> list[tuple[Any, int]]:
    """Return the places where a module of one type follows one of another."""
    return [
        (module, index)
        for module in net.modules()
        if isinstance(module, nn.Sequential)
        for index in range(len(module) - 1)
        if isinstance(module[index], first) and isinstance(module[index + 1], second)
    ]


def _pack_convolutions(net: nn.Module) -> None:
    for module in list(net.modules()):
        if isinstance(module, PackedConv):
            continue
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(module, name, PackedConv(child, clamped=False))


class PackedConv(nn.Module):
    """A convolution with weights in oneDNN's order, which are otherwise reordered every time.

    The order is that for the shape of the first input; other shapes use the weights as they are.

    Args:
        conv: The convolution.
        clamped: Whether it is fused with ReLU6.
    """

    def __init__(self, conv: nn.Conv2d, *, clamped: bool) -> None:
        super().__init__()
        self.conv = conv
        self._fused = ('hardtanh', [0.0, 6.0], '') if clamped else ('none', [], '')
        self._shape: torch.Size | None = None
        self._packed: torch.Tensor | None = None

    def repack(self) -> None:
        """Take over changed weights at the next input."""
        self._packed = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        conv = self.conv
        x = x.to(conv.weight.dtype, memory_format=torch.channels_last)
        if self._packed is None:
            self._shape = x.shape
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001
                conv.weight, *_geometry(conv), list(x.shape)
            )
        return torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001  torch.compile's own
            x,
            self._packed if x.shape == self._shape else conv.weight,
            conv.bias,
            *_geometry(conv),
            *self._fused,
        )


def _geometry(conv: nn.Conv2d) -> tuple[Any, ...]:
    return list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups


class _KeptPosition(nn.Module):
    """A position encoding, cached per shape, on which alone it depends."""

    def __init__(self, encoding: nn.Module) -> None:
        super().__init__()
        self.encoding = encoding
        self._kept: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (len(x), *x.shape[2:])
        if shape not in self._kept:
            self._kept[shape] = self.encoding(x)
        return self._kept[shape]


class _ChannelNorm(nn.Module):
    """sam2's LayerNorm2d (over the channels of (B, C, H, W)), faster."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] < _FEW_CHANNELS:  # layer_norm is slow for many short rows
            x = x.contiguous().float()
            x = x - x.mean(dim=1, keepdim=True)
            x = x * (x.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()
            return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])
        x = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return x.permute(0, 3, 1, 2)


# Numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 512 * 2**20
_LARGEST_MMAP_THRESHOLD = 32 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc's malloc not to return freed tensors to the system.

    On a CPU every frame allocates the same few megabytes. By default glibc returns them to the
    system, and page faults on the next allocation cost a tenth of the frame's time. With these
    settings the process keeps its memory. Other C libraries are not changed.

    Returns:
        Whether the settings were made.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and kept)


def free_cached_memory() -> None:
    """Return what torch keeps of a GPU's memory; a GPU that does not respond is left alone."""
    if torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # also torch.AcceleratorError
            torch.cuda.empty_cache()


@functools.cache
def spare_threads() -> int:
    """Return torch's number of threads less one, at least 1: camera and DDS need a core as well.

    With OMP_NUM_THREADS it is that number. The first call must precede `torch.set_num_threads`.
    """
    chosen = 'OMP_NUM_THREADS' in os.environ
    return torch.get_num_threads() if chosen else max(1, torch.get_num_threads() - 1)


def find_device(name: str) -> torch.device:
    """Return a torch device that works.

    Raises:
        ConfigError: The device is not available.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f'device {name!r} is not available on this machine ({error}); use auto or cpu'
        ) from error
    return device


def find_precision(name: str, device: torch.device) -> str:
    """Return fp32 or bf16; `auto` is bf16 if the hardware supports it."""
    if name != 'auto':
        return name
    if device.type == 'cuda':
        return 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp32'
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 (torch has no other)
    return 'bf16' if native else 'fp32'


def explain_precision(name: str, device: torch.device) -> str:
    """Return why `find_precision` chose its result, for reports."""
    if name != 'auto':
        return 'as requested'
    where = 'GPU' if device.type == 'cuda' else 'processor'
    found = find_precision(name, device) == 'bf16'
    return f'auto: the {where} has {"" if found else "no "}bf16 instructions'


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else cpu_name()


def cpu_name() -> str:
    """Return the processor's name as the system reports it."""
    return _cpu_info('model name') or platform.processor() or platform.machine()


# The instructions that decide how fast matrices are multiplied.
_MATRIX_FLAGS = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8', 'bf16')


def cpu_flags() -> tuple[str, ...]:
    """Return those instruction sets of the processor that matter for the speed."""
    flags = f'{_cpu_info("flags")} {_cpu_info("Features")}'.split()  # of x86 and of Arm
    return tuple(flag for flag in _MATRIX_FLAGS if flag in flags)


def _cpu_info(key: str) -> str:
    """Return the first value of a key of /proc/cpuinfo; empty = none."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:  # noqa: PTH123 (not a path of ours)
            pairs = (line.partition(':') for line in file)
            return next((value.strip() for name, _, value in pairs if name.strip() == key), '')
    except OSError:
        return ''
