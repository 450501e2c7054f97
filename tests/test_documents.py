"""The documents' tables say what is there, and links between documents lead somewhere."""

from __future__ import annotations

import re

import pytest

from tests.documents import ROOT, TABLES, first_sentence, written


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_documents_are_those_of_the_project(name):
    before, after = written(name)
    assert before == after, "run `python -m tests.documents`"


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda path: path.name)
def test_what_a_document_links_to_or_names_is_there(path):
    text = path.read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!https?:|#)([^)#\s]+)\)", text)
    assert [link for link in linked if not (path.parent / link).exists()] == []
    named = re.findall(r"`((?:docs|tests|benchmarks|autograder|solutions|assignments)/[\w/.-]+\.\w+)`", text)
    meant = [name for name in named if not re.search("hwN|hw7", name)]  # any homework, and the one an author begins
    assert [name for name in meant if not (ROOT / name).exists()] == []


def test_a_first_sentence_ends_where_it_ends():
    assert first_sentence("Makes a thing: it does.\n\nMore.") == "Makes a thing"
    assert first_sentence("f(x) = a · x + b, of x's\n    shape. Known: more") == "f(x) = a · x + b, of x's shape"
