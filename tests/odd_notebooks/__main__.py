"""Runs the odd notebooks in a real kernel and records what each leaves: `python -m tests.odd_notebooks [names]`."""

from __future__ import annotations

import json
import sys

from tests.odd_notebooks.kernel import in_kernel
from tests.odd_notebooks.oracle import NOT_IN_A_KERNEL, RECORD, digest_of, names


def main(wanted: list[str]) -> None:
    """Record the named notebooks, or all of them."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in wanted or [name for name in names() if name not in NOT_IN_A_KERNEL]:
        record[name] = {"notebook": digest_of(name), "leaves": in_kernel(name)}
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        print(name, flush=True)


main(sys.argv[1:])
