"""The worker's shorter import of torch leaves out nothing that a notebook can miss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.worker import warmup

ROOT = Path(__file__).parents[2]
BEGIN = """
import json, re, sys, types, warnings
warnings.simplefilter("ignore")
from autograder.worker import warmup
warmup.import_torch()
warmup.settle()
import torch
"""
AUDIT = """
def kernels():
    out = {}
    for name in torch._C._dispatch_get_all_op_names():
        rows = (line.partition(": ") for line in torch._C._dispatch_dump_table(name).splitlines())
        out[name] = {key: re.sub("0x[0-9a-f]+", "", value) for key, _, value in rows if re.fullmatch("\\\\w+", key)}
    return out

def surface(modules):
    out = {}
    for name in modules:
        for key, value in list(vars(sys.modules[name]).items()):
            if isinstance(value, types.ModuleType):
                continue
            sized = isinstance(value, (dict, list, set)) and key != "__builtins__"
            out[name + "." + key] = len(value) if sized else id(value)
            if isinstance(value, type):
                out |= {f"{name}.{key}.{k}": id(v) for k, v in list(vars(value).items())}
    return out

calls = set()
def note(frame, event, function):
    if event == "c_call":
        where = str(getattr(function, "__module__", None) or type(getattr(function, "__self__", None)).__module__)
        if "torch" in where:
            calls.add(function.__name__)

modules = [n for n, m in sys.modules.items() if n.startswith("torch") and type(m) is types.ModuleType]
before = kernels(), surface(modules)
sys.setprofile(note)
warmup.import_meta_kernels()
sys.setprofile(None)
after = kernels(), surface(modules)
print(json.dumps({
    "namespaces": sorted({name.split("::")[0] for name in after[0] if name not in before[0]}),
    "devices": sorted({key for n in before[0] for key in before[0][n] if before[0][n][key] != after[0][n].get(key)}),
    "changed": sorted(key for key in before[1] if before[1][key] != after[1].get(key)),
    "appeared": sorted(key for key in after[1] if key not in before[1]),
    "calls": sorted(calls),
    "whole": type(sys.modules["torch._meta_registrations"]).__name__,
}))
"""


def start(rest: str) -> Any:
    done = subprocess.run([sys.executable, "-c", BEGIN + rest], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def audit() -> Any:
    """Everything the postponed import changes: kernels, names in torch's modules, calls into its C side."""
    if not torch.__version__.startswith(warmup.KNOWN):
        pytest.skip("this release of torch is imported whole")
    return start(AUDIT)


def test_only_kernels_for_tensors_without_data_wait(audit: Any) -> None:
    assert audit["devices"] == ["Meta"]
    assert set(audit["namespaces"]) == {"prims", "rngprims", "debugprims"}  # operators of tracing
    assert audit["whole"] == "module"


def test_no_other_call_changes_the_c_side(audit: Any) -> None:
    looks = {"get", "has", "add", "remove", "containedTypes", "isSubtypeOf", "parse_schema"}
    looks |= {name for name in audit["calls"] if name.startswith(("_dispatch_", "_get_", "_is_", "_jit_get", "_parse"))}
    registers_kernels = {"define", "impl"}
    done_already = {"_set_generator_metaclass"}
    of_tracing = {"_register_opaque_type"}
    assert set(audit["calls"]) - looks - registers_kernels == done_already | of_tracing


def test_no_name_of_torch_changes_but_tables_of_tracing(audit: Any) -> None:
    tracing = ("torch._higher_order_ops.", "torch._library.", "torch._ops.", "torch._subclasses.", "torch.fx.")
    registry = (warmup.META, "torch.library._", "torch.jit._builtins._builtin_table", "torch._opaque_base._")
    assert [name for name in audit["changed"] if not name.startswith(tracing + registry)] == []
    assert [name for name in audit["appeared"] if not name.startswith(tracing + registry)] == []


def test_generators_data_loaders_and_forward_mode_work_on_the_short_import() -> None:
    rest = """
from torch.utils.data import DataLoader
generator = torch.Generator().manual_seed(0)
draws = torch.randn(2, generator=generator).tolist()
loader = DataLoader(list(range(8)), batch_size=4, num_workers=1, shuffle=True, generator=generator)
x = torch.tensor([1.0, 2.0], dtype=torch.float64)
value, tangent = torch.func.jvp(lambda x: torch.nn.functional.logsigmoid(x ** 3), (x,), (torch.ones_like(x),))
hessian = torch.func.hessian(lambda x: (x ** 3).sum())(x)
print(json.dumps([draws, sum(int(b.sum()) for b in loader), isinstance(generator, torch.Generator), tangent.tolist(),
                  hessian.diagonal().tolist(), type(sys.modules["torch._meta_registrations"]).__name__]))
"""
    draws, total, is_generator, tangent, diagonal, kind = start(rest)
    assert draws == torch.randn(2, generator=torch.Generator().manual_seed(0)).tolist()
    assert (total, is_generator) == (28, True)
    assert tangent == pytest.approx([3 / (1 + 2.718281828459045), 12 / (1 + 2.718281828459045**8)])
    assert diagonal == pytest.approx([6.0, 12.0])
    assert kind == ("_Later" if torch.__version__.startswith(warmup.KNOWN) else "module")


def test_reading_a_name_of_the_module_imports_it() -> None:
    rest = """
from torch._meta_registrations import register_meta
print(json.dumps([register_meta.__module__, type(sys.modules["torch._meta_registrations"]).__name__]))
"""
    assert start(rest) == ["torch._meta_registrations", "module"]


def test_a_submission_that_uses_meta_tensors_gets_them() -> None:
    rest = """
warmup.prepare_for(["x = torch.empty(3, 3, device='meta')"])
print(json.dumps(list(torch.linalg.cholesky(torch.empty(3, 3, device="meta")).shape)))
"""
    assert start(rest) == [3, 3]


@pytest.mark.parametrize(
    "text",
    [
        "torch.empty(3, device='meta')",
        "from torch._subclasses import FakeTensorMode",
        "import torch.fx as fx",
        "torch.compile(model)",
        "with torch.utils.flop_counter.FlopCounterMode(): pass",
        "importlib.import_module('torch.' + name)",
        "eval('torch.' + name)",
    ],
)
def test_text_that_may_lead_to_meta_tensors_imports_the_rest(text: str) -> None:
    assert warmup.MAY_NEED_META.search(text)


def test_ordinary_notebooks_do_not_import_the_rest() -> None:
    text = "model.eval(); metadata = {}; loss = F.cross_entropy(logits, x); torch.save(model.state_dict(), 'vae.pt')"
    assert not warmup.MAY_NEED_META.search(text)


def test_the_release_is_read_without_an_import() -> None:
    assert warmup.release() == torch.__version__
