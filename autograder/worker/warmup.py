"""Imports torch in two thirds of the CPU time, and leaves out nothing that a notebook can miss.

Nearly all of a sandbox's start is `import torch`. Three things make it shorter:

- no garbage collection meanwhile (8 %), and what was imported is never looked through again;
- `torch._meta_registrations` waits (25 %). It registers kernels for tensors without data (`device="meta"`, fake
  tensors, tracing); every kernel of every other device is the same without it. It is imported when the submission's
  text has a word that may lead there, or when anybody reads a name of the module;
- package metadata is not searched for extension backends (TORCH_DEVICE_BACKEND_AUTOLOAD in the environment).

What the second leaves undone was read off a whole import, call by call, for the releases in `KNOWN`; the tests do so
again. Any other release of torch is imported whole.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

KNOWN = ("2.13.",)
META = "torch._meta_registrations"
MAY_NEED_META = re.compile(
    r"(?i)\b(?:meta|fx|export|onnx|compile|functorch|library|custom_op|__import__|importlib|exec|(?<!\.)eval)\b"
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
    """The first import of torch in this process; `settle` ends it."""
    if "torch" in sys.modules:
        return
    gc.disable()
    if not release().startswith(KNOWN):
        importlib.import_module("torch")
        return
    sys.modules[META] = _Later(META)
    torch = importlib.import_module("torch")
    # The one thing besides kernels: without it no torch.Generator can be made.
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


def release() -> str:
    """Version of the torch that would be imported, read without importing it; empty if that cannot be told."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return ""
    file = Path(found.origin).with_name("version.py")
    match = re.search(r"^__version__ = ['\"]([^'\"]+)", file.read_text() if file.exists() else "", re.MULTILINE)
    return match[1] if match else ""
