"""The student's objects: they stay here, the judge holds numbered references to them.

`Objects.handle(op, fields)` is one request. Plain data crosses, everything else becomes a `Ref`, also inside
containers. References in arguments are exchanged for their objects. Tensors are detached on their way out.
"""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .calling import OPTIMISERS, Fault, beside_model, invoke, name_of, signature_of
from .frames import student_frame
from .gradients import gradient, jacobian, jacobian_blocks
from .graphs import parts_with_graph
from .parameters import load, named_parameters, perturb, set_parameter, state_of
from .probes import PROBES
from .probes.general import Recorder
from .training import descend
from .wire import Ref, type_name

LIVE_LIMIT = 100_000  # references held at once
ITEM_LIMIT = 200_000  # values in one reply
DEPTH_LIMIT = 60


class Objects:
    """References by number, and the operations on them.

    Args:
        snapshots: namespaces as they stood when a graded cell had run, by grade_id.
        namespace: the notebook's namespace at its end. Looking into a namespace makes it the one that the notebook's
            functions find their globals in, so a call first looks into the one its target came from.
    """

    def __init__(self, snapshots: Mapping[str, Mapping[str, Any]], namespace: Mapping[str, Any]) -> None:
        self._snapshots = snapshots
        self._namespace = namespace
        self._live: dict[int, tuple[Any, str | None]] = {}  # an object and the scope it came from
        self._scope: str | None = None  # of the request at hand
        # A reference outliving its sandbox must not mean another object in the next one.
        self._next = int.from_bytes(os.urandom(4), "little") << 20
        self._operations: dict[str, Callable[..., Any]] = {
            "resolve": self._resolve,
            "call": self._call,
            "fit": self._fit,
            "descend": self._descend,
            "getattr": self._getattr,
            "setattr": self._setattr,
            "state_dict": self._state_dict,
            "load_state_dict": self._load_state_dict,
            "perturb": self._perturb,
            "optimiser": self._optimiser,
            "signature": self._signature,
            "gradient": self._gradient,
            "jacobian": self._jacobian,
            "jacobian_blocks": self._jacobian_blocks,
            "parameters": self._parameters,
            "parts_with_graph": self._parts_with_graph,
            "probe": self._probe,
            "records": self._records,
            "contents": self._contents,
            "release": self._release,
        }

    @property
    def operations(self) -> frozenset[str]:
        """The names `handle` knows."""
        return frozenset(self._operations)

    def handle(self, op: str, fields: Mapping[str, Any]) -> Any:
        """Carry out one request and return the value of its reply: plain data and Refs.

        Raises:
            Fault: what was asked for is not there or does not fit.
            BaseException: whatever the student's code raises.
        """
        return self._operations[op](**fields)

    def ref(self, thing: Any) -> Ref:
        """Hold `thing` and return a reference to it. Raises Fault when too many are held."""
        if len(self._live) >= LIVE_LIMIT:
            raise Fault("unsendable", f"more than {LIVE_LIMIT} objects were returned and are still in use")
        self._next += 1
        self._live[self._next] = thing, self._scope
        module = issubclass(type(thing), nn.Module)
        return Ref(id=self._next, type=type_name(type(thing)), callable=callable(thing), module=module)

    def held(self, ref: Ref) -> Any:
        """The object behind a reference. Raises LookupError when it was released or belongs to another sandbox."""
        return self._entry(ref)[0]

    def _entry(self, ref: Ref) -> tuple[Any, str | None]:
        if ref.id not in self._live:
            raise LookupError(f"the object #{ref.id} ({ref.type}) is not held here any more")
        return self._live[ref.id]

    # what crosses

    def pack(self, value: Any) -> Any:
        """Plain data of exact builtin types, with Refs for the rest. Raises Fault when it is too deep or too much."""
        return self._pack(value, DEPTH_LIMIT, [ITEM_LIMIT])

    def _pack(self, value: Any, depth: int, left: list[int]) -> Any:
        kind = type(value)  # never isinstance: `__class__` may lie
        left[0] -= 1
        if left[0] < 0 or depth < 0:
            raise Fault("unsendable", f"the result holds more than {ITEM_LIMIT} values or is nested too deep")
        if value is None or issubclass(kind, DATA):
            return value  # read by the wire through the base types' own methods
        if issubclass(kind, np.ndarray) and _dtype_of(value).kind in "biufc":
            return value
        if kind in SEQUENCES:
            base: Any = list if kind is list else tuple
            return base([self._pack(item, depth - 1, left) for item in base.__iter__(value)])
        if kind in MAPPINGS and all(issubclass(type(k), (str, int)) for k in dict.keys(value)):
            return {key: self._pack(item, depth - 1, left) for key, item in dict.items(value)}
        return self.ref(value)

    def unpack(self, value: Any) -> Any:
        """The arguments of a call: a Ref becomes its object wherever it stands."""
        if type(value) is Ref:
            return self.held(value)
        if type(value) in (list, tuple):
            return type(value)(self.unpack(item) for item in value)
        if type(value) is dict:
            return {key: self.unpack(item) for key, item in value.items()}
        return value

    # operations

    def _resolve(self, scope: str | None, name: str, keep: bool = False) -> Any:
        value = self._named(scope, name)
        return self.ref(value) if keep else self.pack(value)

    def _call(
        self,
        target: Any,
        method: str | None = None,
        args: Any = (),
        kwargs: Any = None,
        seed: int | None = None,
        mode: str | None = None,
        grad: bool = False,
        keep: bool = False,
        echo: bool = False,
    ) -> Any:
        function = self._function(target, method)
        arguments, named = beside_model(function, self.unpack(args), self.unpack(kwargs or {}))
        result = invoke(function, arguments, named, seed=seed, mode=mode, grad=grad)
        value = self.ref(result) if keep else self.pack(result)
        return {"value": value, "args": self.pack(arguments), "kwargs": self.pack(named)} if echo else value

    def _fit(self, target: Any, args: Any, kwargs: Any, seed: int | None = None) -> Any:
        return self._call(target, args=args, kwargs=kwargs, seed=seed, grad=True)

    def _descend(
        self, target: Any, inputs: Any, label: Tensor | None, method: str | None = None, **schedule: Any
    ) -> list[float]:
        network, function = self._module(target), self._function(target, method)
        return descend(network, function, inputs, label, **schedule)

    def _getattr(self, target: Any, name: str, keep: bool = False) -> Any:
        value = attribute(self._target(target), name)
        return self.ref(value) if keep else self.pack(value)

    def _setattr(self, target: Any, name: str, value: Any) -> None:
        owner, value = self._target(target), self.unpack(value)
        if isinstance(owner, nn.Module) and isinstance(value, Tensor):
            set_parameter(owner, name, value)
        else:
            setattr(owner, name, value)

    def _state_dict(self, target: Any) -> Any:
        return self.pack(state_of(self._module(target)))

    def _parameters(self, target: Any) -> Any:
        return self.pack(named_parameters(self._module(target)))

    def _load_state_dict(self, target: Any, state: Mapping[str, Tensor]) -> None:
        load(self._module(target), state)

    def _perturb(self, target: Any, std: float, seed: int) -> None:
        perturb(self._module(target), std, seed)

    def _optimiser(self, target: Any, kind: str, settings: Mapping[str, Any]) -> Ref:
        return self.ref(OPTIMISERS[kind](self._module(target).parameters(), **settings))

    def _signature(self, target: Any, method: str | None = None) -> Any:
        signature = signature_of(self._function(target, method))
        if signature is None:
            return None
        parameters = list(signature.parameters.values())
        return {
            "parameters": [
                {"name": p.name, "kind": p.kind.name.lower(), "default": p.default is not p.empty}
                for p in parameters
                if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            ],
            "var_args": any(p.kind is p.VAR_POSITIONAL for p in parameters),
            "var_kwargs": any(p.kind is p.VAR_KEYWORD for p in parameters),
        }

    def _gradient(
        self,
        target: Any,
        method: str | None = None,
        args: Any = (),
        kwargs: Any = None,
        seed: int | None = None,
        mode: str | None = None,
        wrt: Any = (),
        cotangent: Tensor | None = None,
        parameters_of: Ref | None = None,
        output: int | str | None = None,
    ) -> Any:
        function = self._function(target, method)
        arguments, named = beside_model(function, self.unpack(args), self.unpack(kwargs or {}))
        found = gradient(
            function,
            arguments,
            named,
            wrt=wrt,
            cotangent=cotangent,
            parameters=None if parameters_of is None else named_parameters(self._module(parameters_of)),
            output=output,
            seed=seed,
            mode=mode,
        )
        parts = {"value": found.value, "inputs": found.inputs, "parameters": found.parameters}
        return {name: self.pack(part) for name, part in parts.items()}

    def _jacobian(
        self,
        target: Any,
        method: str | None = None,
        args: Any = (),
        kwargs: Any = None,
        seed: int | None = None,
        mode: str | None = None,
        wrt: int | str = 0,
        output: int | str | None = None,
    ) -> Tensor:
        function = self._function(target, method)
        arguments, named = beside_model(function, self.unpack(args), self.unpack(kwargs or {}))
        return jacobian(function, arguments, named, wrt=wrt, output=output, seed=seed, mode=mode)

    def _jacobian_blocks(
        self, target: Any, method: str | None = None, args: Any = (), kwargs: Any = None, **conditions: Any
    ) -> Any:
        function = self._function(target, method)
        arguments, named = beside_model(function, self.unpack(args), self.unpack(kwargs or {}))
        found = jacobian_blocks(function, arguments, named, **conditions)
        return {"numbers": found.numbers, "blocks": found.blocks}

    def _parts_with_graph(
        self, target: Any, method: str | None = None, args: Any = (), kwargs: Any = None, **conditions: Any
    ) -> Any:
        function = self._function(target, method)
        arguments, named = beside_model(function, self.unpack(args), self.unpack(kwargs or {}))
        return parts_with_graph(invoke(function, arguments, named, grad=True, **conditions))

    def _probe(self, name: str, args: Any = (), kwargs: Any = None) -> Ref:
        return self.ref(PROBES[name](*self.unpack(args), **self.unpack(kwargs or {})))

    def _records(self, target: Any) -> Any:
        recorder = self._target(target)
        if not isinstance(recorder, Recorder):
            raise Fault("wrong", f"a {type_name(type(recorder))} is not a recorder")
        return [self.pack({"args": list(args), "kwargs": kwargs}) for args, kwargs in recorder.calls]

    def _contents(self, target: Any) -> Any:
        """What a container of the student's own class holds, as plain data and references."""
        thing = self._target(target)
        kind = type(thing)
        for base in (tuple, list):
            if issubclass(kind, base):
                return self.pack(base(base.__iter__(thing)))
        if issubclass(kind, dict):
            return self.pack(dict(dict.items(thing)))
        raise Fault("missing", f"a {type_name(kind)} is no tuple, list or dictionary")

    def _release(self, ids: Any) -> None:
        for number in ids:
            self._live.pop(number, None)

    # looking things up

    def _named(self, scope: str | None, name: str) -> Any:
        if scope is not None and scope not in self._snapshots:
            raise Fault("missing", f"`{name}` is not defined: cell `{scope}` is not in the notebook or never ran")
        namespace = self._enter(scope)
        if name not in namespace:
            when = "at the end of the notebook" if scope is None else f"when cell `{scope}` ends"
            raise Fault("missing", f"`{name}` is not defined {when}")
        return namespace[name]

    def _enter(self, scope: str | None) -> Mapping[str, Any]:
        self._scope = scope
        namespace = self._namespace if scope is None else self._snapshots[scope]
        len(namespace)  # looks into it
        return namespace

    def _target(self, target: Any) -> Any:
        if type(target) is not Ref:
            return self._named(target["scope"], target["name"])
        thing, scope = self._entry(target)
        self._enter(scope)
        return thing

    def _function(self, target: Any, method: str | None) -> Any:
        owner = self._target(target)
        return owner if method is None else attribute(owner, method)

    def _module(self, target: Any) -> nn.Module:
        thing = self._target(target)
        if not isinstance(thing, nn.Module):
            raise Fault("missing", f"a torch.nn.Module was expected, `{name_of(thing)}` is none")
        return thing


DATA = (Tensor, bool, int, float, str, np.generic, torch.dtype, torch.device)
# What crosses as data. A class made from one of these stays: handed back, it must be what the student's code knows.
SEQUENCES = {list, tuple, torch.Size, *(kind for kind in vars(torch.return_types).values() if isinstance(kind, type))}
MAPPINGS = {dict, OrderedDict, defaultdict}
_dtype_of = np.ndarray.dtype.__get__


def attribute(owner: Any, name: str) -> Any:
    """`owner.name`. Raises Fault("missing") when there is no such attribute; other errors are the student's."""
    try:
        return getattr(owner, name)
    except AttributeError as error:
        if student_frame(error) is not None:  # raised inside a property of the student's
            raise
        raise Fault("missing", f"`{name_of(owner)}` has no attribute `{name}`") from None
