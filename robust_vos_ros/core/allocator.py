"""Keep the memory that one frame frees for the next one."""

from __future__ import annotations

import ctypes

# Numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 512 * 2**20
_LARGEST_MMAP_THRESHOLD = 32 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc's malloc not to return freed tensors to the system.

    On a CPU every frame allocates the same few megabytes. glibc gives them back and gets them
    again as untouched pages, whose faults cost a tenth of the frame. The process then never
    shrinks by itself, which a tracker has no use for. Other C libraries are left alone.

    Returns:
        Whether the settings were made.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and kept)
