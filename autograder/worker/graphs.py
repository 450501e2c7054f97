"""Which parts of a result carry a graph."""

from __future__ import annotations

from typing import Any

import torch

PARTS = 10_000  # looked at most
_requires_grad = torch._C.TensorBase.requires_grad.__get__  # type: ignore[attr-defined]


def parts_with_graph(value: Any) -> list[str]:
    """Names of the tensors in a result that require a gradient: "result", "result[0]", "result['z']", "result.z".

    Containers are walked through, and the attributes of an object that is none, one level deep. A parameter handed
    back as it is has no graph behind it but leads the next backward into the model all the same, so it counts.
    """
    found: list[str] = []
    waiting = [("result", value, True)]
    for _ in range(PARTS):
        if not waiting:
            break
        name, thing, object_too = waiting.pop(0)
        kind = type(thing)
        if issubclass(kind, torch.Tensor):
            with torch._C.DisableTorchFunctionSubclass():
                found += [name] if _requires_grad(thing) else []
        elif issubclass(kind, (list, tuple)):
            base: Any = list if issubclass(kind, list) else tuple
            waiting += [(f"{name}[{i}]", item, object_too) for i, item in enumerate(base.__iter__(thing))]
        elif issubclass(kind, dict):
            waiting += [(f"{name}[{str(key)[:40]!r}]", item, object_too) for key, item in dict.items(thing)]
        elif object_too and not issubclass(kind, torch.nn.Module):
            attributes = getattr(thing, "__dict__", None)
            if type(attributes) is dict:
                waiting += [(f"{name}.{key}", item, False) for key, item in attributes.items()]
    return found
