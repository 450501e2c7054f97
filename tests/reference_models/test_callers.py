"""Nothing is kept for nobody: every public name has a caller, or is what its folder gives to those who import it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_models.catalogue import families

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "reference_models"
CALLERS = (MODELS, ROOT / "solutions", ROOT / "tests" / "solutions")
FOR_TESTS = {  # with what they are for
    "parts.time.ReversedVelocity": "a network of the other convention of time, for whoever brings one",
    "parts.time.ReversedTime": "likewise",
    "parts.time.UnitTime": "likewise",
    "parts.distributions.DiagonalNormal": "the plainest density there is, which tests of any density are tried on",
    "protocols.LatentVariableModel": "what every latent variable model is asked for, held by test_protocols",
    "protocols.Diffusion": "likewise of diffusions",
    "runs.yardstick": "a trained model of each family, for hidden checks and pictures of homeworks to come",
}


def trees() -> dict[Path, ast.Module]:
    files = [file for folder in CALLERS for file in sorted(folder.rglob("*.py"))]
    return {file: ast.parse(file.read_text()) for file in files}


def defined(tree: ast.Module) -> Iterator[tuple[str, range]]:
    """The public functions and classes of a module, and the lines each takes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, range(node.lineno, (node.end_lineno or node.lineno) + 1)


def used(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names that are read, with their lines; an import is no use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno


def given(folder: Path) -> set[str]:
    """What `from reference_models.folder import …` gives."""
    for node in ast.parse((folder / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@pytest.fixture(scope="module")
def uncalled() -> set[str]:
    everything = trees()
    uses: dict[str, list[tuple[Path, int]]] = {}
    for file, tree in everything.items():
        if file.name != "__init__.py":
            for name, line in used(tree):
                uses.setdefault(name, []).append((file, line))
    found = set()
    for file, tree in everything.items():
        if file.is_relative_to(MODELS) and file.parent.name != "__pycache__":
            for name, lines in defined(tree):
                elsewhere = any(other != file or line not in lines for other, line in uses.get(name, []))
                if not elsewhere and name not in given(file.parent):
                    found.add(".".join([*file.relative_to(MODELS).with_suffix("").parts, name]))
    return found


def test_every_public_name_has_a_caller_or_is_given_by_its_folder(uncalled):
    in_catalogue = {name for name in uncalled if is_of_a_family(name)}
    assert uncalled - in_catalogue == set(FOR_TESTS)


def is_of_a_family(name: str) -> bool:
    """Whether the name stands in a module with a row of its own in the catalogue."""
    return name.rsplit(".", 1)[0] in {family.module.removeprefix("reference_models.") for family in families()}
