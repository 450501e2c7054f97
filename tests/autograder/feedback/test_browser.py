"""What a real browser does with hostile reports: nothing.

Chromium opens each page with scripts enabled, lets time pass and prints the document it ended with. Every payload, if
it ran, would set the title to PWNED or fetch a beacon from a server of the test. The same pages with the escaping taken
out show that the payloads work and that the content policy stops them alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jinja2 import Environment
from markupsafe import Markup

from autograder.feedback import brief, class_page, html, student_page
from autograder.report import Report
from tests.autograder.report_factory import PAYLOADS, TITLE, hostile, typical

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--virtual-time-budget=3000"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed (apt-get install chromium)"
)


@pytest.fixture
def beacon() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the paths that were asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def opened(page: str, folder: Path) -> str:
    """The document after the browser has opened `page`, as HTML."""
    assert CHROMIUM is not None, "chromium is needed in CI"
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8", errors="replace")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    assert "</html>" in done.stdout
    return done.stdout


def title(document: str) -> str:
    """What stands between the title tags."""
    return document.partition("<title>")[2].partition("</title>")[0]


def armed(url: str) -> Report:
    """The hostile report, its notes fetching from `url` in every way a page can."""
    fetching = [
        f"<img src='{url}/img'>",
        f"<link rel=stylesheet href='{url}/css'>",
        f"<style>body{{background:url({url}/style)}}</style>",
        f"<p style='background:url({url}/attribute)'>x</p>",
        f"<script src='{url}/script'></script>",
        f"<iframe src='{url}/frame'></iframe>",
        f"<meta http-equiv=refresh content='1;url={url}/refresh'>",
        f"<svg><image href='{url}/svg' width=9 height=9></image></svg>",
        f"<video src='{url}/video' autoplay></video><object data='{url}/object'></object>",
    ]
    made = hostile("x")
    return made.model_copy(update={"notes": [*fetching, *PAYLOADS[:6]]})


@pytest.fixture
def unescaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the cleaning and escaping out of the templates: the planted error."""
    real = html.environment()
    careless = Environment(
        loader=real.loader, autoescape=False, undefined=real.undefined, trim_blocks=True, lstrip_blocks=True
    )
    careless.filters |= {**real.filters, "prose": lambda words, capital=False: Markup(words)}
    careless.globals |= real.globals
    monkeypatch.setattr(html, "environment", lambda: careless)


@pytest.mark.parametrize("audience", ["student", "ta"])
def test_nothing_in_a_hostile_report_runs_or_fetches(
    audience: str, tmp_path: Path, beacon: tuple[str, list[str]]
) -> None:
    url, asked = beacon
    document = opened(student_page(armed(url), TITLE, audience), tmp_path)
    assert title(document) == f"{TITLE} · x"
    assert "&lt;script&gt;document.title='PWNED'" in document
    assert "<script" not in document
    assert asked == []


def test_nothing_in_a_class_of_hostile_students_runs_or_fetches(tmp_path: Path, beacon: tuple[str, list[str]]) -> None:
    url, asked = beacon
    everyone = [armed(url), *(hostile(payload) for payload in PAYLOADS)]
    document = opened(class_page(map(brief, everyone), {p: p for p in PAYLOADS}, TITLE), tmp_path)
    assert title(document) == f"{TITLE} · the class"
    assert "<script" not in document
    assert asked == []


@pytest.mark.usefixtures("unescaped")
def test_without_escaping_the_content_policy_alone_still_lets_nothing_run_or_fetch(
    tmp_path: Path, beacon: tuple[str, list[str]]
) -> None:
    url, asked = beacon
    made = armed(url)
    notes = [note for note in made.notes if "refresh" not in note]  # a policy in the page does not forbid leaving it
    document = opened(student_page(made.model_copy(update={"notes": notes}), TITLE), tmp_path)
    assert "<script>document.title" in document
    assert "PWNED" not in title(document)
    assert asked == []


@pytest.mark.usefixtures("unescaped")
def test_without_escaping_and_policy_the_payloads_do_run_and_fetch(
    tmp_path: Path, beacon: tuple[str, list[str]]
) -> None:
    url, asked = beacon
    made = armed(url)
    notes = [note for note in made.notes if "refresh" not in note]
    page = student_page(made.model_copy(update={"notes": notes}), TITLE).replace("Content-Security-Policy", "x")
    assert "PWNED" in title(opened(page, tmp_path))
    assert {"/img", "/style", "/script", "/svg"} <= set(asked)


def test_the_style_sheet_passes_the_policy_of_its_own_page(tmp_path: Path) -> None:
    """A picture taken of the page has the colour of paper, which only the style sheet gives it."""
    from PIL import Image

    assert CHROMIUM is not None
    file, shot = tmp_path / "page.html", tmp_path / "shot.png"
    file.write_text(student_page(typical(), TITLE), encoding="utf-8")
    flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,600", f"--screenshot={shot}"]
    subprocess.run([CHROMIUM, *flags, file.as_uri()], capture_output=True, timeout=600, check=True)
    assert Image.open(shot).convert("RGB").getpixel((5, 5)) == (0xFC, 0xFB, 0xF9)
