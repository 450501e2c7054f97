"""On a phone nothing of a page for the staff is hidden, cut off, or reached by scrolling sideways in Chromium."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from autograder.feedback import Known, Theory, brief, class_page
from autograder.feedback.exampage import Card, exam_page
from autograder.feedback.similarpage import Side, Stretch, list_page, pair_page
from tests.autograder.feedback.test_browser import CHROMIUM, opened, pytestmark  # noqa: F401
from tests.autograder.report_factory import REJECTED, TITLE, a_class

# Says how wide the page wants to be, which texts stand outside the window or have no room at all, and which sentences
# are torn into columns.
MEASURE = """
<script>
const missing = [];
for (const one of document.querySelectorAll("th[scope=row], td, h2, dd, small, .points, .code span, svg text")) {
  const box = one.getBoundingClientRect(), words = one.textContent.trim();
  const figure = one.closest(".histogram");  // one of two, by the width of the window
  const room = box.width >= 1 && box.height >= 1 && box.left >= 0 && box.right <= innerWidth + 1;
  if (words && !room && !(figure && getComputedStyle(figure).display === "none")) missing.push(words);
}
for (const cell of document.querySelectorAll("td[data-label]")) {
  const apart = ["grid", "flex"].includes(getComputedStyle(cell).display);
  if (apart && cell.childNodes.length > 1) missing.push("in columns: " + cell.textContent);
}
parent.postMessage([name, innerWidth, document.documentElement.scrollWidth, missing], "*");
</script>
"""
WINDOW = """<html><body><script>
const found = [];
onmessage = (event) => { found.push(event.data); document.title = JSON.stringify(found); }
</script>{}</body></html>"""
FRAME = '<iframe name="{}" src="{}.html" style="width: {}px; height: 900px; border: 0"></iframe>'
WIDTHS = (390, 1280)


def test_every_word_of_a_class_page_stands_inside_the_window(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    reports = a_class()
    known = {report.student: Known(f"{report.student} Longfamilyname", Theory(2.5, 4.0, 1)) for report in reports}
    odd = {"smithson": "`hw1.ipynb`: no student of the course is called 'smithson'. Did you mean `smith`?"}
    page = class_page(map(brief, reports), {**REJECTED, **odd}, TITLE, known, ["smithson"])
    assert_have_room({"class": page}, tmp_path)


LONG = "Maximiliana-Theodora von und zu Hohenlohe-Waldenburg"
SIDE = Side(LONG, [Stretch("cell 4", [("    return torch.logsumexp(values, dim=1).mean(0)" * 3, 0), ("pass", None)])])
PAGES = {
    "pairs": list_page(TITLE, [("pair-001.html", LONG, f"earlier: {LONG}", 0.93, 12)], 31),
    "pair": pair_page(TITLE, 0.93, SIDE, SIDE),
    "cards": exam_page(
        f"{TITLE}, oral exam", [Card("m.hohenlohe@phystech.edu", LONG, [(7, "Flows", "What for? " * 40)])]
    ),
}


def test_every_word_of_a_list_of_pairs_of_a_pair_and_of_cards_stands_inside_the_window(tmp_path: Path) -> None:
    assert_have_room(PAGES, tmp_path)


def assert_have_room(pages: Mapping[str, str], tmp_path: Path) -> None:
    """On a phone and on a screen nothing of a page is cut off, and it is no wider than the window."""
    frames = ""
    for name, page in pages.items():
        page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        (tmp_path / f"{name}.html").write_text(page.replace("</body>", f"{MEASURE}</body>"), errors="replace")
        frames += "".join(FRAME.format(name, name, width) for width in WIDTHS)
    document = opened(WINDOW.replace("{}", frames), tmp_path)
    found = json.loads(html.unescape(re.findall(r"<title>(.*?)</title>", document)[0]))
    assert sorted((name, width) for name, width, *_ in found) == sorted(product(pages, WIDTHS))
    assert [(name, width, missing) for name, width, needed, missing in found if missing or needed > width] == []
