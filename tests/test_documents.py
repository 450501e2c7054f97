"""The README's tables say what is there."""

from __future__ import annotations

from tests.documents import README, first_sentence, written


def test_the_tables_of_the_readme_are_those_of_the_project():
    text = README.read_text(encoding="utf-8")
    assert written(text) == text, "run `python -m tests.documents`"


def test_a_first_sentence_ends_where_it_ends():
    assert first_sentence("Makes a thing: it does.\n\nMore.") == "Makes a thing"
    assert first_sentence("f(x) = a · x + b, of x's\n    shape. Known: more") == "f(x) = a · x + b, of x's shape"
