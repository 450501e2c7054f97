"""How a notebook computes on a GPU: within its share of the memory, and as far as torch knows how the same every time.

It is set before the first cell runs. A notebook can change it afterwards, as it can change everything inside.
"""

from __future__ import annotations

import os
import warnings

import torch

MEGABYTE = 1 << 20


def settle(memory_mb: int | None) -> dict[str, str]:
    """Cap the memory and ask for repeatable arithmetic; what was set, by name, for the report.

    Args:
        memory_mb: of the device, for this process; None: all there is.
    """
    found = {"CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", "")}
    torch.use_deterministic_algorithms(True, warn_only=True)  # an operation that has no such way is done all the same
    warnings.filterwarnings("ignore", ".*does not have a deterministic implementation")
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found |= {"deterministic algorithms": "where there are any", "cudnn.benchmark": "off", "TF32": "off"}
    if memory_mb is not None:
        torch.cuda.set_per_process_memory_fraction(share(memory_mb, torch.cuda.get_device_properties(0).total_memory))
        found["memory of the GPU"] = f"{memory_mb} MB"
    return found


def share(memory_mb: int, total: int) -> float:
    """The part of a device's bytes that so many megabytes are."""
    return min(1.0, memory_mb * MEGABYTE / total)
