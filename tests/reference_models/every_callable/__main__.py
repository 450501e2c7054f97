"""Writes the defaults of every public callable into defaults.txt: python -m tests.reference_models.every_callable."""

from __future__ import annotations

from pathlib import Path

from tests.reference_models.every_callable.rows import callables, defaults, keywords

HERE = Path(__file__).resolve().parent
FOLDERS = [file.stem for file in HERE.glob("*.py") if not file.stem.startswith(("test_", "rows", "__"))]

if __name__ == "__main__":
    found = {name: function for folder in FOLDERS for name, function in callables(folder).items()}
    lines = [f"{name}: {defaults(function)}\n" for name, function in sorted(found.items()) if keywords(function)]
    (HERE / "defaults.txt").write_text("".join(lines))
