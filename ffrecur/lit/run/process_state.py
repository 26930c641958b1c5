"""What a command sets for its whole process, for speed; nothing that is computed changes."""

from __future__ import annotations

import ctypes
import platform

import torch

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h


def prepare_process() -> None:
    """Flush numbers too small to be normal to 0, and keep memory that is let go of."""
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for what is made next; return whether it could be told so.

    Without it glibc hands large blocks back to the system at once. Each step makes tensors as large as the weights, whose
    pages the system would clear anew: up to a quarter of a step. The process keeps the most that it ever had in use.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, 2**31 - 1))
