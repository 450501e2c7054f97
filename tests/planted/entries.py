"""Planted errors: small wrong edits of the reference models, each of which a test must catch.

A test of the file named, or else one of the tests over every public callable, of those of the same module.

- family: realnvp                 # the name of the family in the catalogue
  file: flows/realnvp.py          # under reference_models/
  replace: "logdet = s.sum"       # occurs exactly once in the file
  by: "logdet = -s.sum"
  error: the log-determinant has the wrong sign
  tests: flows/test_coupling.py   # optional, under tests/reference_models/; else the test file named after `file`
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

ROOT = Path(__file__).resolve().parents[2]
MODELS, TESTS, PLANTED = ROOT / "reference_models", ROOT / "tests" / "reference_models", ROOT / "tests" / "planted"
EQUIVALENT = PLANTED / "equivalent.yaml"  # random mutants that change nothing, see `mutants`
EVERY_CALLABLE = TESTS / "every_callable" / "test_every_callable.py"


class Planted(BaseModel):
    """One entry; it is refused unless its text occurs once, the result compiles, and the tests exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    file: str
    replace: str
    by: str
    error: str
    tests: str | None = None

    @field_validator("file")
    @classmethod
    def _exists(cls, file: str) -> str:
        if not (MODELS / file).is_file():
            raise ValueError(f"there is no reference_models/{file}")
        return file

    @model_validator(mode="after")
    def _applies(self) -> Planted:
        found = self.original.count(self.replace)
        if found != 1:
            raise ValueError(f"the text to replace must occur exactly once in {self.file}, it occurs {found} times")
        if self.by == self.replace:
            raise ValueError("the replacement changes nothing")
        try:
            compile(self.source, self.file, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise ValueError(f"the changed file does not compile: {error}") from None
        if not self.test_file.is_file():
            raise ValueError(f"there is no {self.test_file.relative_to(ROOT)}")
        return self

    @property
    def folder(self) -> str:
        return self.file.split("/")[0]

    @property
    def module(self) -> str:
        """The name under which the file is imported."""
        parts = ["reference_models", *Path(self.file).with_suffix("").parts]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def test_files(self) -> tuple[Path, ...]:
        return (self.test_file,)

    @property
    def callables(self) -> str | None:
        """What the names of the module's rows in the tests over every callable begin with; None without such tests."""
        return f"{self.module.removeprefix('reference_models.')}." if EVERY_CALLABLE.is_file() else None

    @property
    def original(self) -> str:
        return (MODELS / self.file).read_text()

    @property
    def source(self) -> str:
        """The file with the error in it."""
        return self.original.replace(self.replace, self.by)

    @property
    def test_file(self) -> Path:
        path = Path(self.file)
        return TESTS / (self.tests or path.with_name(f"test_{path.name}"))


class UnusableError(Exception):
    """An entry that cannot be run; the message says where it stands and what is wrong."""


def load(file: Path) -> Iterator[Planted]:
    """The entries of one YAML file, checked. Raises UnusableError."""
    entries = yaml.safe_load(file.read_text()) or []
    if not isinstance(entries, list):
        raise UnusableError(f"{file.name}: a list of planted errors is expected")
    for number, entry in enumerate(entries, 1):
        try:
            yield Planted.model_validate(entry)
        except ValidationError as error:
            reasons = "; ".join(f"{' '.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
            raise UnusableError(f"{file.name}, entry {number}: {reasons}") from None


def every_file(folder: str | None = None) -> list[Path]:
    """The files of all folders, or those of one: named after it, with a suffix where it has several."""
    patterns = ("*.yaml",) if folder is None else (f"{folder}.yaml", f"{folder}_*.yaml")
    return sorted(file for pattern in patterns for file in PLANTED.glob(pattern) if file != EQUIVALENT)
