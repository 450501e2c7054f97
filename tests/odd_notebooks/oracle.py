"""What a notebook leaves behind, said by the same cell in a real kernel and in the worker; where they may differ."""

from __future__ import annotations

import hashlib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FOLDER = HERE / "notebooks"
RECORD = HERE / "kernel.json"

# Run as the last cell; prints every name of the notebook with its type and, where it is data, its value.
FINGERPRINT = """
def _fingerprint():
    import builtins, hashlib, json, sys
    def of(value, depth=0):
        kind = builtins.type(value)
        named = f"{kind.__module__}.{kind.__qualname__}"
        if named == "torch.Tensor":
            return [named, builtins.str(value.dtype), builtins.list(value.shape), value.double().sum().item()]
        if kind in (builtins.int, builtins.float, builtins.str, builtins.bool, builtins.type(None)):
            return [named, builtins.repr(value)[:200]]
        if kind in (builtins.list, builtins.tuple) and depth < 3:
            return [named, [of(item, depth + 1) for item in value[:20]]]
        return [named]
    own = {"In", "Out", "get_ipython", "exit", "quit", "open"}
    names = {n: v for n, v in builtins.list(builtins.globals().items()) if n[:1] != "_" and n not in own}
    sys.stdout.write("\\n" + json.dumps({n: of(v) for n, v in names.items()}, sort_keys=True) + "\\n")
_fingerprint()
"""

# Never run in a kernel, with the reason; what they may cost is asked of the container.
NOT_IN_A_KERNEL = {
    "endless-early": "its first cell does not end",
    "memory-early": "its first cell takes 34 GB",
    "recursion": "its first cell overflows the stack, and the kernel dies",
}

# Where the worker leaves something else than a kernel: the names, and the reason.
DIFFERENCES: dict[str, tuple[set[str], str]] = {
    "argparse": ({"scale"}, "a kernel's own options stand in `sys.argv` and end the cell; here nothing stands there"),
    "block-needs-absent": (
        {"LOCAL", "fast", "itertools", "math", "ns", "pi", "scale", "shown", "upload"},
        "a package that is not here costs what uses it, also where it is imported in a block",
    ),
    "colab-style": ({"ROOT", "drive", "files", "os", "scale"}, "the modules of Colab are there and do nothing"),
    "error-then-go-on": ({"last"}, "the last error is not kept, since what its frames hold would count as memory"),
    "helper-needs-absent": (
        {"plots_helper", "scale", "v", "w"},
        "a package that is not here costs what uses it, also in a module beside the notebook",
    ),
    "ipython-embed": ({"ip"}, "the shell is another class of IPython's"),
    "lightning": ({"L", "M", "scale"}, "a package that is not here costs what uses it, not the rest of its cell"),
    "loop-needs-absent": (
        {"epoch", "log", "losses", "net", "opt", "scale", "train"},
        "a package that is not here costs what uses it: a call in a loop is skipped, the loop goes on",
    ),
    "pylab": ({"requested_backend"}, "figures are not shown, so matplotlib keeps the backend it has"),
    "run-needs-absent": (
        {"nonesuch_plots", "scale", "v_script"},
        "a package that is not here costs what uses it, also in a script",
    ),
    "seaborn-style": ({"itertools", "scale", "sns"}, "a package that is not here costs what uses it"),
    "torchvision-same-cell": (
        {"math", "scale", "tf", "torchvision", "transforms"},
        "a package that is not here costs what uses it",
    ),
    "wandb": ({"scale", "wandb"}, "a package that is not here costs what uses it"),
}


# Odd in how cells are written and saved, and in what Python and IPython make of them: they use no file, command,
# process or package that may be absent, so what they earn is seen in a forked worker. All others are graded in
# containers.
OF_THE_WORKER = {
    "all-in-one-cell", "argparse", "bom-file", "capture-var", "clear-output", "crlf-source", "debug-magic",
    "default-dtype", "display-handle", "dup-solution-last-right", "format3", "future-annotations",
    "history-out", "history-underscore", "ipython-embed", "metadata-stripped", "nbsp-source", "no-ids-minor5",
    "reversed", "shadow-builtins", "split-solution", "tabs-mixed", "toplevel-await", "typing-overrides",
}  # fmt: skip

# Points of those that lose some of the two, with what a kernel says to them.
FULL = 2.0
LOSES = {
    "input-same-cell": (1.0, "nobody answers `input`"),
    "kernel-r": (1.0, "a cell in R is no Python"),
    "mpl-tk": (1.0, "there is no display for Tk"),
    "nbsp-source": (1.0, "a non-breaking space is no indentation"),
    "py312-fstring": (1.0, "the image's Python does not read it, and the message says which would"),
    "torch-compile": (1.0, "there is no C++ compiler"),
}


def worth(name: str) -> float:
    """The points a notebook must get."""
    return LOSES.get(name, (FULL, ""))[0]


def names() -> list[str]:
    """Every odd notebook."""
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def notebook_file(name: str) -> Path:
    """The notebook itself."""
    (path,) = (FOLDER / name).glob("*.ipynb")
    return path


def digest_of(name: str) -> str:
    """Of everything in the notebook's folder, so that a record of another version is seen."""
    total = hashlib.sha256(FINGERPRINT.encode())
    for path in sorted(
        path for path in (FOLDER / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ):
        total.update(str(path.relative_to(FOLDER)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]
