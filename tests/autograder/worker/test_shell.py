"""A cell means in the worker what it means in IPython, and what it needs that is not here costs what uses it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import pytest
import torch

from tests.autograder.worker_process import WorkerProcess, graded, texts, training


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """Behind walls, as in a container; every `run` forgets the one before."""
    worker = WorkerProcess(tmp_path_factory.mktemp("shell"), walls=True)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """Without walls, as in the process sandbox."""
    worker = WorkerProcess(tmp_path_factory.mktemp("bare"))
    yield worker
    worker.close()


def missing(worker: WorkerProcess, name: str) -> bool:
    reply = worker.ask("resolve", scope=None, name=name)
    return not reply["ok"] and reply["error"]["kind"] == "missing"


# --- a package that is not here

ABSENT = "there is no module `nonesuch` here, neither installed nor handed in"


def test_a_missing_package_costs_what_uses_it_and_nothing_else(shared):
    (run,) = shared.run(
        "import torch, nonesuch as ns, math\nns.set_theme()\n"
        "from nonesuch import x, y as z\nw = math.pi\nz[0] += 1\nv = 2"
    )
    assert run["status"] == "ok"
    assert run["notes"] == [
        f"`import nonesuch as ns` failed: {ABSENT}; what uses it is skipped",
        f"line 2: `ns.set_theme()` was skipped: {ABSENT}",
        f"`from nonesuch import x, y as z` failed: {ABSENT}; what uses it is skipped",
        f"line 5: `z[0] += 1` was skipped: {ABSENT}",
    ]
    assert (shared.resolve("w"), shared.resolve("v")) == (math.pi, 2)
    assert run["error"] == {"type": "AbsentPackage", "message": ABSENT, "where": "cell 1, line 2: ns.set_theme()"}


def test_a_missing_package_that_nothing_uses_is_a_note_and_no_error(shared):
    (run,) = shared.run("import nonesuch\nx = 1")
    assert (run["status"], run["error"]) == ("ok", None)
    assert run["notes"] == [f"`import nonesuch` failed: {ABSENT}; what uses it is skipped"]


def test_what_a_skipped_statement_would_have_made_is_absent_too_and_nothing_that_was_there(shared):
    (run,) = shared.run(
        "import nonesuch as ns\nold = 1\nold = ns.wrap(old)\ngrid = ns.Grid()\ngrid.map(print)\n"
        "class Module(ns.Base): pass\nmodel: object = Module()\n@ns.cached\ndef f(x): return x\n"
        "def g(): return ns.plot()\ndef h(): return 3"
    )
    assert run["status"] == "ok"
    assert shared.resolve("old") == 1
    assert shared.call("h")["value"] == 3
    for name in ("f", "g", "Module"):
        error = shared.call(name)["error"]
        assert (error["type"], error["message"]) == ("AbsentPackage", ABSENT), name


def test_what_else_goes_wrong_in_a_cell_with_a_missing_package_still_ends_it(shared):
    (run,) = shared.run("import nonesuch as ns\nx = 1\nundefined\ny = 2")
    assert run["error"]["type"] == "NameError"
    assert (shared.resolve("x"), missing(shared, "y")) == (1, True)


def test_imports_inside_try_and_inside_functions_fail_as_in_python(shared):
    runs = shared.run(
        "try:\n    import nonesuch\nexcept ImportError:\n    nonesuch = None",
        "def f():\n    import nonesuch\nf()\nx = 1",
        "class A:\n    if True:\n        import nonesuch",
    )
    assert texts(runs) == ["ok", "error", "error"]
    assert [run["error"] and run["error"]["type"] for run in runs] == [None, *2 * ["ModuleNotFoundError"]]
    assert (shared.resolve("nonesuch"), missing(shared, "x")) == (None, True)


BLOCKS = [
    "if True:\n    {}",
    "if False: pass\nelse:\n    {}",
    "with open('x', 'w') as f:\n    {}",
    "for _ in range(2):\n    {}",
    "while True:\n    {}\n    break",
    "match 1:\n    case 1:\n        {}",
    "if True:\n    with open('x', 'w') as f:\n        {}",
    "try:\n    {}\nfinally:\n    pass",
    "try:\n    {}\nexcept KeyboardInterrupt:\n    pass",
    "try:\n    pass\nfinally:\n    {}",
]


@pytest.mark.parametrize("block", BLOCKS)
def test_an_import_in_a_block_costs_what_uses_it_and_nothing_else(shared, block):
    (run,) = shared.run(block.format("import nonesuch as ns, math; before = 1; ns.x(); after = 2") + "\nx = math.pi")
    assert run["status"] == "ok"
    assert run["notes"][0] == f"`import nonesuch as ns` failed: {ABSENT}; what uses it is skipped"
    assert [shared.resolve(name) for name in ("before", "x")] == [1, math.pi]
    assert missing(shared, "after")  # nobody knew before the block ran


LOG = """\
import nonesuch as ns
losses = []
def log(k): ns.log(k)
def train():
    for k in range(3):
        losses.append(k)
        ns.log(loss=k)
        if k: ns.log(k)
    ns.finish()
    return losses
for k in range(2):
    ns.log(k)
    losses.append(k)
try:
    ns.log(k)
except ImportError:
    losses.append("caught")
"""


def test_a_call_for_what_is_not_here_is_skipped_where_it_stands_also_in_a_loop_or_a_function(shared):
    (run,) = shared.run(LOG)
    assert run["status"] == "ok"
    assert [note.split("`")[1] for note in run["notes"][1:]] == ["ns.log(k)"]
    assert shared.call("train")["value"] == [0, 1, "caught", 0, 1, 2]
    assert shared.call("log", 1)["value"] is None


def test_what_else_fails_in_a_guarded_statement_fails_as_ever(shared):
    runs = shared.run("import nonesuch as ns\nfor _ in range(2):\n    print(1 / 0, ns)\nx = 1", "if True:\n    1 / 0")
    assert [(run["error"]["type"], run["error"]["where"]) for run in runs] == [
        ("ZeroDivisionError", "cell 1, line 3: print(1 / 0, ns)"),
        ("ZeroDivisionError", "cell 2, line 2: 1 / 0"),
    ]


HELPER = """\
\"\"\"Words.\"\"\"
from __future__ import annotations
import math
import nonesuch as ns
ns.set_theme()
PALETTE = ns.palette(8)
if True:
    import nonesuch_too
"more words"
def circle(r: Nowhere) -> float:
    ns.log(r)
    return math.pi * r
class Fancy(ns.Figure): pass
def draw(): return Fancy()
"""


def files(**sources: str) -> dict[str, torch.Tensor]:
    return {
        name.replace("__", "/") + ".py": torch.tensor(list(text.encode()), dtype=torch.uint8)
        for name, text in sources.items()
    }


def test_a_module_beside_the_notebook_loses_only_what_uses_a_missing_package(shared):
    beside = files(plots=HELPER, pkg__inner="from plots import *\nfrom nonesuch.api import x\ny = 3\n")
    runs = shared.run(
        "import plots\nfrom plots import circle, draw\nfrom pkg.inner import y, x\ndoc = plots.__doc__\n"
        "area = circle(1.0)\ndraw()\nz = 4",
        files=beside,
    )
    (run,) = runs
    assert run["status"] == "ok"
    assert [shared.resolve(name) for name in ("area", "doc", "y", "z")] == [math.pi, "Words.", 3, 4]
    assert run["notes"][:3] == [
        f"`import nonesuch as ns` in plots.py failed: {ABSENT}; what uses it is skipped",
        f"plots.py, line 5: `ns.set_theme()` was skipped: {ABSENT}",
        f"plots.py, line 6: `PALETTE = ns.palette(8)` was skipped: {ABSENT}",
    ]
    assert f"line 6: `draw()` was skipped: {ABSENT}" in run["notes"]


def test_a_module_beside_the_notebook_that_fails_otherwise_is_lost_with_its_reason(shared):
    beside = files(broken="x = 1\n1 / 0\n", newer="x = f'{'a'}'\n", asks="raise ImportError('install it')\n")
    runs = shared.run("import broken", "import newer", "import asks\nx = 1", files=beside)
    assert [run["error"] and run["error"]["type"] for run in runs] == ["ZeroDivisionError", "SyntaxError", None]
    assert runs[0]["error"]["where"] == "broken.py, line 2: 1 / 0"
    if sys.version_info < (3, 12):
        assert "needs Python 3.12" in runs[1]["error"]["message"]
    assert runs[2]["notes"] == ["`import asks` failed: install it; what uses it is skipped"]


def test_a_script_loses_only_what_uses_a_missing_package(shared):
    script = files(script="import nonesuch as ns, sys\nns.init()\ndef v(): return 3\nw = __name__\nsys.exit(0)\n")
    (run,) = shared.run("%run script.py\nx = v()", files=script)
    assert run["status"] == "ok"
    assert (shared.resolve("x"), shared.resolve("w")) == (3, "__main__")


def test_a_missing_part_of_a_package_leaves_the_package(shared):
    (run,) = shared.run("import torch\nimport torch.nonesuch\nfrom torch import nonesuch\nx = torch.ones(1)")
    assert run["status"] == "ok"
    assert shared.resolve("x").tolist() == [1.0]
    assert "cannot import name 'nonesuch' from 'torch'" in run["notes"][1]


def test_training_goes_on_without_a_missing_package(shared):
    shared.run(training("import nonesuch as ns\nns.init()\nmodel = [1]", "t"))
    outcome = shared.value("train", task="t", name="model")
    assert outcome["status"] == "ok"
    assert shared.resolve("model", "train:t") == [1]


USES = [
    *("ns.a", "ns()", "ns[0]", "ns + 1", "1 - ns", "-ns", "not ns", "len(ns)", "for _ in ns: pass", "with ns: pass"),
    *("ns.a = 1", "ns < 1", "0 if ns else 0", "isinstance(1, ns)", "class A(ns): pass", "await ns", "1 in ns"),
    *("float(ns)", "a, b = ns", "f(*ns)", "del ns[0]", "ns.__version__"),
]


@pytest.mark.parametrize("use", USES)
def test_any_use_of_what_is_not_here_is_skipped(shared, use):
    (run,) = shared.run(f"import nonesuch as ns\ndef f(*_): pass\n{use}\nx = 1")
    assert (run["status"], len(run["notes"])) == ("ok", 2), run
    assert shared.resolve("x") == 1


# --- IPython's syntax


def test_magics_around_a_body_run_it_once_in_place_and_let_its_errors_through(shared):
    runs = shared.run(
        "%%time\nx = 1\n1/0",
        "\n%%capture out --no-stderr\nprint('seen')\ny = 1",
        "out.show()\nz = out.stdout",
        "%%timeit -n 1000 -r 7\ncount = globals().get('count', 0) + 1",
        "%%time\n%%capture\nw = 1",
        "%%capture bad\nraise ValueError('v')",
    )
    assert texts(runs) == ["error", "ok", "ok", "ok", "ok", "error"]
    assert runs[0]["error"]["where"] == "cell 1, line 3: 1/0"
    assert [runs[1]["stdout"], runs[2]["stdout"]] == ["", "seen\n"]
    names = [shared.resolve(name) for name in ("x", "y", "z", "count", "w")]
    assert names == [1, 1, "seen\n", 1, 1]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%time x = 3", 3),
        ("x = %time 1 + 2", 3),
        ("for i in range(2):\n    %time x = i", 1),
        ("%prun x = 4", 4),
        ("t = %timeit -o -n 1000000 -r 9 sum(range(3))\nx = t.loops * t.repeat", 1),
        ("x = !echo one; echo two\nx = list(x)", ["one", "two"]),
        ("name = 'there'\n!echo {name} > file.txt\nx = open('file.txt').read()", "there\n"),
        ("%env PLACE=here\nimport os\nx = os.environ['PLACE']", "here"),
        ("%config InlineBackend.figure_format = 'retina'\nx = 1", 1),
        ("%pylab inline\nx = float(ones(2).sum())", 2.0),
        ("%load_ext autoreload\n%autoreload 2\nx = 1", 1),
        ("%load_ext nonesuch\n%nonesuch\nx = 1", 1),
        ("%debug\nbreakpoint()\nx = 1", 1),
        ("x = 7\n%reset -f", 7),
        ("import asyncio\nasync def f(): return 9\nx = await f()", 9),
        ("print?\nx = 1", 1),
        ("%cd /\n%cd -\nx = 1", 1),
    ],
)
def test_what_a_notebook_writes_beside_python_works(shared, source, expected):
    (run,) = shared.run(source)
    assert (run["status"], run["error"]) == ("ok", None), run
    assert shared.resolve("x") == expected


def test_files_a_cell_writes_are_modules_of_the_next(shared):
    runs = shared.run(
        "%%writefile fresh_module.py\nv = 1",
        "from fresh_module import v",
        "%%bash\nmkdir -p sub/a",
        "%cd sub\nimport os\nx = os.listdir()",
    )
    assert texts(runs) == ["ok"] * 4, runs
    assert (shared.resolve("v"), shared.resolve("x")) == (1, ["a"])


def test_a_future_import_holds_for_later_cells_and_not_for_the_next_notebook(shared):
    later = "def f(x: Undefined): return x\nnamed = f.__annotations__['x']"
    shared.run("from __future__ import annotations", later)
    assert shared.resolve("named") == "Undefined"
    assert shared.run("x = 1", later)[1]["error"]["type"] == "NameError"


def test_history_is_there_and_is_the_same_in_every_scope(shared):
    runs = shared.run(
        *("x = 1", "x + 1", graded("y = _ + Out[2]", "a"), "y", graded("z = _", "b")),
        "len(In), '_5' in globals()",
    )
    assert texts(runs) == ["ok"] * 6
    assert runs[5]["stdout"] == "(7, False)\n"
    assert (shared.resolve("y", "a"), shared.resolve("z", "b")) == (4, 4)
    assert shared.run("1", graded("", "a"), "2", "_")[3]["stdout"] == "2\n"


def test_looking_into_a_scope_does_not_break_the_next_cell(shared):
    shared.load(graded("x = 1", "a"), "x + 1", "_ + 1")
    shared.value("run_cell", index=0, scope=None)
    shared.resolve("x", "a")
    assert [shared.value("run_cell", index=i, scope=None)["stdout"] for i in (1, 2)] == ["2\n", "3\n"]


def test_what_training_changed_is_not_ipythons_own(shared):
    shared.run("x = 1", training("x\ny = x + 1", "t"), training("z = y + 1\nz", "t"))
    assert shared.value("train", task="t", name="z")["status"] == "ok"
    assert shared.resolve("z", "train:t") == 3


def test_lines_keep_their_numbers_behind_empty_lines_and_magics(shared):
    runs = shared.run("\n\n1/0", "%matplotlib inline\n\n1/0", "\n%%time\n\ny = = 1")
    places = ["cell 1, line 3: 1/0", "cell 2, line 3: 1/0", "cell 3, line 4: y = = 1"]
    assert [run["error"]["where"] for run in runs] == places


def test_what_ipython_only_shows_is_a_note(shared):
    runs = shared.run("%%writefile broken.py\n1/0", "%run broken.py\nx = 1")
    assert texts(runs) == ["ok", "ok"]
    assert runs[1]["notes"] == ["ZeroDivisionError: division by zero (the cell went on)"]


def test_widgets_and_handles_of_displays_work_without_a_front_end(shared):
    pytest.importorskip("ipywidgets")
    runs = shared.run(
        "h = display('a', display_id=True)\nfor i in range(3): h.update(i)",
        "import ipywidgets as w\nout = w.Output()\nwith out: print('hi')\nbar = w.IntProgress(max=3)\nbar.value += 1",
        "from ipywidgets import interact\n@interact(k=(1, 5))\ndef show(k=3): print(k)\nx = bar.value",
    )
    assert texts(runs) == ["ok"] * 3
    assert shared.resolve("x") == 1


def test_newer_syntax_is_named_with_the_version_it_needs(shared):
    (run,) = shared.run("import math\nd = {'k': 1}\nprint(f'{d['k']}')")
    if run["status"] == "error":  # a Python that can not read it
        assert run["error"]["type"] == "SyntaxError"
        assert "needs Python 3.12; notebooks are graded with Python 3.11" in run["error"]["message"]


# --- without walls


def test_without_walls_no_command_runs_and_a_note_says_so(bare, tmp_path):
    runs = bare.run(
        f"!touch {tmp_path}/a",
        f"x = !touch {tmp_path}/b",
        f"%%bash\ntouch {tmp_path}/c",
        f"%sx touch {tmp_path}/d",
        f"get_ipython().system('touch {tmp_path}/e')",
        f"get_ipython().getoutput('touch {tmp_path}/f')",
        f"%mkdir {tmp_path}/g",
        f"%%script sh\ntouch {tmp_path}/h",
        f"!!touch {tmp_path}/i",
        "%%writefile kept.txt\nyes",
    )
    assert texts(runs) == ["ok"] * 10
    assert list(tmp_path.iterdir()) == []
    assert all("commands run in containers only" in run["notes"][0] for run in runs[:9])


@pytest.mark.parametrize(
    "line",
    [
        *(
            "!pip install nonesuch",
            "!sudo apt-get install nonesuch",
            "%pip install -q nonesuch",
            "x = !uv add nonesuch",
        ),
        *("!python -m pip install nonesuch>=2 && echo ok", "!pip install 'nonesuch[all]'", "%conda install nonesuch"),
    ],
)
def test_nothing_is_installed_behind_walls_either(shared, line):
    (run,) = shared.run(line)
    assert run["status"] == "ok"
    assert run["notes"][0].endswith("was not run: nothing can be installed here; nonesuch is not here")


def test_a_student_who_breaks_ipython_breaks_it_for_themselves(tmp_path):
    worker = WorkerProcess(tmp_path)
    ruin = (
        "import IPython.core.interactiveshell as s\ndef no(*a, **k): raise SystemExit\n"
        "for name in ('run_cell', 'transform_cell', 'run_ast_nodes', 'reset', 'push'):\n"
        "    setattr(s.InteractiveShell, name, no)\nget_ipython().user_ns_hidden = None"
    )
    worker.load("def f(): return 2", ruin, "x = 1")
    replies = [worker.ask("run_cell", index=index, scope=None) for index in range(3)]
    assert replies[0]["value"]["status"] == "ok"
    assert worker.ask("resolve", scope=None, name="x")["id"] == worker.serial
    worker.close()
