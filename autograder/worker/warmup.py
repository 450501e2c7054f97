"""Imports torch in two thirds of the CPU time, and leaves out nothing that a notebook can miss.

Nearly all of a sandbox's start is `import torch`. Three things make it shorter:

- no garbage collection meanwhile (8 %), and what was imported is never looked through again;
- `torch._meta_registrations` waits (25 %). It registers kernels for tensors without data (`device="meta"`, fake
  tensors, tracing) and nothing else: every kernel of every other device is the same without it. It is imported when
  the submission's text has a word that may lead there, or when anybody reads a name of the module;
- package metadata is not searched for extension backends (TORCH_DEVICE_BACKEND_AUTOLOAD in the environment).
"""

from __future__ import annotations

import gc
import importlib
import re
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

META = "torch._meta_registrations"
MAY_NEED_META = re.compile(
    r"(?i)\b(?:meta|fx|export|onnx|compile|functorch|__import__|importlib|exec|(?<!\.)eval)\b"
    r"|fake|symbolic|decomp|_refs|_prims|_dynamo|_inductor|_subclasses|flop"
)


class _Later(ModuleType):
    """Stands for the module until a name of it is read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        import_meta_kernels()
        return getattr(sys.modules[META], name)


def import_torch() -> None:
    """The first import of torch in this process."""
    if "torch" in sys.modules:
        return
    sys.modules[META] = _Later(META)
    gc.disable()
    torch = importlib.import_module("torch")
    if hasattr(torch._C, "_set_generator_metaclass"):  # what makes `torch.Generator` callable waits with the kernels
        torch._C._set_generator_metaclass(importlib.import_module("torch._opaque_base").OpaqueBaseMeta)


def settle() -> None:
    """After all imports: what is there now is never garbage."""
    gc.freeze()
    gc.enable()


def import_meta_kernels() -> None:
    """Make torch what a plain `import torch` makes it."""
    if isinstance(sys.modules.get(META), _Later):
        del sys.modules[META]
        importlib.import_module(META)


def prepare_for(texts: Iterable[str]) -> None:
    """Before a submission runs: import what its text may lead to."""
    if any(MAY_NEED_META.search(text) for text in texts):
        import_meta_kernels()
