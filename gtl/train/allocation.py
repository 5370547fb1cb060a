"""Memory that the process keeps when tensors are freed, so that the next ones find it mapped.

The allocator of Linux (glibc) gives large blocks back to the system as soon as they are free, and
the next tensor costs a page fault for every 4 KB. That slows down passes without gradients over
large graphs, which free a tensor after each operation; training steps free theirs at the end.
"""

from __future__ import annotations

import ctypes
import functools
import os

KEPT = 1 << 30  # bytes: of a block that is reused, and of free memory at the end of the heap
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, from malloc.h


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep up to :data:`KEPT` bytes that tensors on the CPU have freed.

    Holds for the rest of the process; loops of :mod:`gtl.train` call it when they start. Numbers
    stay as they are, memory goes back to the system later, and its peak may be some percent higher.

    Returns:
        Whether it had an effect: false without glibc, and where an environment variable of glibc
        (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``, ``GLIBC_TUNABLES``) has settings
        of the user, which stay in force.
    """
    if any(name in os.environ for name in _SETTINGS):
        return False
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; on Windows None is refused
        return False
    return all(change(what, KEPT) == 1 for what in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
