"""Markdown of a student's that is safe to show as HTML."""

from __future__ import annotations

import re

BREAK = "\u200b"  # has no width
SCHEMES = re.compile(r"(?i)(javascript|vbscript|data(?!:image/(?:png|jpeg|gif|webp)\b))(\\?\s*:)")
HTML_TAG = re.compile(r"(?i)<(?!br\s*/?>)(?=[a-z/!?])")  # a bare line break is what a table needs
ENTITY = re.compile(r"&(?=#|\w+;)")
ATTACHED = re.compile(r"(?i)(attachment)(\\?\s*:)(?!picture-\d+\b)")  # a picture that is not there stops formgrader
# What MathJax knows beyond formulas: links, styles, attributes of the page. A macro could put a link together from
# parts, so the command itself is broken and not what it is given.
REACHES_OUT = re.compile(
    r"\\(?=(?:href|url|style|class|cssId|htmlData|htmlStyle|htmlClass|htmlId|mmlToken|bbox|require|csname)(?![A-Za-z]))"
)


def disarm(markdown: str) -> str:
    """Markdown without HTML of its own and without links that run something; formulas and pictures stay."""
    text = HTML_TAG.sub("< ", ENTITY.sub(f"&{BREAK}", markdown))
    text = REACHES_OUT.sub(lambda _: f"\\{BREAK}", text)
    return ATTACHED.sub(rf"\1{BREAK}\2", SCHEMES.sub(rf"\1{BREAK}\2", text))
