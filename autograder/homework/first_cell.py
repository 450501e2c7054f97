"""The first code cell of every template: makes `check("…")` work at home and on Colab, or says why it does not.

It is locked and is run in every sandbox as it stands, where `autograder` is there already. It needs nothing but Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from autograder.version import VERSION

DISTRIBUTION = "dgm-autograder"
WHEEL = f"dgm_autograder-{VERSION}-py3-none-any.whl"
GRADE_ID = "autograder-package"

SOURCE = """\
# Makes check("…") work: at home, on Colab, or wherever the homework's files lie beside this notebook.
WHEEL, FILES, FILES_AT = "@WHEEL@", @FILES@, "@URL@"

try:
    from autograder import check, course_data
except ImportError:
    import importlib.util, os, subprocess, sys, urllib.request

    if importlib.util.find_spec("autograder") is not None:
        print("Another package called `autograder` is installed here. Run `pip uninstall autograder` in a terminal,")
        print("restart the kernel and run this cell again: it installs the course's own.")
    else:
        for name in (WHEEL, *FILES):
            if FILES_AT and not os.path.exists(name):
                urllib.request.urlretrieve(f"{FILES_AT}/{name}", name)
        if not os.path.exists(WHEEL) and "google.colab" in sys.modules:
            from google.colab import files

            print(f"Upload these files of the homework's zip: {WHEEL}, {', '.join(FILES)}.")
            files.upload()
        if os.path.exists(WHEEL):
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", WHEEL])
            importlib.invalidate_caches()
    try:
        from autograder import check, course_data
    except ImportError:
        print(f"The checks are not installed: put {WHEEL}, {', '.join(FILES)} of the homework's zip beside this")
        print("notebook, or run `pip install @DISTRIBUTION@` from wherever your course keeps it. What needs neither")
        print("checks nor the course's data works without.")

        def check(task):
            print(f"{task}: not checked, because the course's package is not installed here.")

        def course_data(name):
            raise RuntimeError(f"The data {name!r} come with the course's package, which is not installed here.")
"""


def files_at_of(source: str) -> str:
    """The URL in a first cell, empty if there is none."""
    found = re.search(r'^WHEEL, FILES, FILES_AT = .*, "([^"]*)"$', source, re.MULTILINE)
    return found[1] if found else ""


def first_cell(files_at: str = "", files: Sequence[str] = ()) -> str:
    """The cell's source.

    Args:
        files_at: URL of the folder where the released files lie, for notebooks opened alone; none if empty.
        files: names of data files that the homework needs besides its checks.
    """
    text = SOURCE.replace("@WHEEL@", WHEEL).replace("@DISTRIBUTION@", DISTRIBUTION)
    names = ", ".join(json.dumps(name) for name in ("checks.py", *files))
    return text.replace("@FILES@", f"[{names}]").replace("@URL@", files_at.rstrip("/")).rstrip("\n")
