"""The worker's shorter import of torch leaves out nothing that a notebook can miss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
TABLES = """
import json, re, sys
from autograder.worker import warmup
{first}
import torch
def tables():
    out = {{}}
    for name in torch._C._dispatch_get_all_op_names():
        rows = (line.partition(": ") for line in torch._C._dispatch_dump_table(name).splitlines())
        out[name] = {{key: re.sub("0x[0-9a-f]+", "", value) for key, _, value in rows if re.fullmatch("\\\\w+", key)}}
    return out
{rest}
"""


def start(first: str, rest: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", TABLES.format(first=first, rest=rest)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def difference() -> Any:
    """Which kernels differ between the short import and the whole one, as (operator, device)."""
    return start(
        "warmup.import_torch()",
        """
before = tables()
warmup.import_meta_kernels()
after = tables()
print(json.dumps([
    sorted({name.split("::")[0] for name in after if name not in before}),
    sorted({key for name in before for key in before[name] if before[name][key] != after[name].get(key)}),
    hasattr(torch, "_meta_registrations"),
]))
""",
    )


def test_only_kernels_for_tensors_without_data_wait(difference: Any) -> None:
    new_namespaces, devices, _ = difference
    assert devices == ["Meta"]
    assert all("prims" in name for name in new_namespaces)  # of tracing, not of notebooks


def test_the_whole_import_can_be_had_later(difference: Any) -> None:
    assert difference[2] is True


def test_reading_a_name_of_the_module_imports_it() -> None:
    rest = """
from torch._meta_registrations import register_meta
print(json.dumps([register_meta.__module__, type(sys.modules["torch._meta_registrations"]).__name__]))
"""
    assert start("warmup.import_torch()", rest) == ["torch._meta_registrations", "module"]


def test_a_generator_can_be_made_on_the_short_import_and_after_the_whole_one() -> None:
    rest = """
draw = lambda: torch.rand(3, generator=torch.Generator().manual_seed(1)).tolist()
first = draw()
warmup.import_meta_kernels()
print(json.dumps([first, draw()]))
"""
    first, second = start("warmup.import_torch()", rest)
    assert first == second
    assert first == torch.rand(3, generator=torch.Generator().manual_seed(1)).tolist()


def test_forward_mode_and_higher_derivatives_work_on_the_short_import() -> None:
    rest = """
x = torch.tensor([1.0, 2.0], dtype=torch.float64)
value, tangent = torch.func.jvp(lambda x: torch.nn.functional.logsigmoid(x ** 3), (x,), (torch.ones_like(x),))
hessian = torch.func.hessian(lambda x: (x ** 3).sum())(x)
print(json.dumps([tangent.tolist(), hessian.diagonal().tolist()]))
"""
    tangent, diagonal = start("warmup.import_torch()", rest)
    assert tangent == pytest.approx([3 / (1 + 2.718281828459045), 12 / (1 + 2.718281828459045**8)])
    assert diagonal == pytest.approx([6.0, 12.0])


@pytest.mark.parametrize(
    "text",
    [
        "torch.empty(3, device='meta')",
        "from torch._subclasses import FakeTensorMode",
        "import torch.fx as fx",
        "torch.compile(model)",
        "with torch.utils.flop_counter.FlopCounterMode(): pass",
        "importlib.import_module('torch.' + name)",
    ],
)
def test_text_that_may_lead_to_meta_tensors_imports_the_rest(text: str) -> None:
    from autograder.worker.warmup import MAY_NEED_META

    assert MAY_NEED_META.search(text)


def test_ordinary_notebooks_do_not_import_the_rest() -> None:
    from autograder.worker.warmup import MAY_NEED_META

    text = "model.eval(); metadata = {}; loss = F.cross_entropy(logits, x); torch.save(model.state_dict(), 'vae.pt')"
    assert not MAY_NEED_META.search(text)


def test_a_submission_that_uses_meta_tensors_gets_them() -> None:
    rest = """
warmup.prepare_for(["x = torch.empty(3, 3, device='meta')"])
print(json.dumps(list(torch.linalg.cholesky(torch.empty(3, 3, device="meta")).shape)))
"""
    assert start("warmup.import_torch()", rest) == [3, 3]
