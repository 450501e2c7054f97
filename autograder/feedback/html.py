"""Renders the templates: everything escaped, everything cleaned, a content policy that lets nothing run or load.

Three walls stand between a student's text and a reader's browser. `clean` removes what acts without being seen, on
every value that reaches a template; Jinja escapes it; and the policy in the page's head allows one style sheet, named
by its hash, and pictures inside the page, so that even unescaped text could neither run nor fetch.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from autograder.feedback import text

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """The page as a string. Equal values give equal pages."""
    style = stylesheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "script-src 'none'"
    )
    page = environment().get_template(template).render(style=Markup(style), policy=Markup(policy), **values)
    return re.sub(r"\n\s*\n+", "\n", page) + "\n"


@lru_cache
def stylesheet() -> str:
    """The one style sheet of all pages."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8").strip()


@lru_cache
def environment() -> Environment:
    """The templates with their filters."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "line": text.line,
        "prose": prose,
        "points": text.points,
        "amount": text.amount,
        "plural": text.plural,
        "duration": text.duration,
        "moment": text.moment,
        "short": text.short,
    }
    made.globals |= {"count": text.count, "segments": segments}
    return made


def _cleaned(value: object) -> object:
    return text.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def prose(message: str, capital: bool = False) -> Markup:
    """A message escaped, with `code` between backticks set as code."""
    message = text.clean(message)
    if capital:
        message = message[:1].upper() + message[1:]
    parts = message.split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner stays what it is
        parts[-2:] = ["`".join(parts[-2:])]
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def segments(parts: list[tuple[str, float]], whole: float, gap: float = 0.0) -> Markup:
    """A bar of coloured parts, each a class of the style sheet and its share of `whole`; numbers stand beside it."""
    bar, left = [], 0.0
    for kind, share in parts:
        width = 100 * share / whole if whole else 0.0
        if width > 0:
            wide = max(width - gap, 0.2)
            bar.append(f'<rect class="{escape(kind)}" x="{left:.2f}" width="{wide:.2f}" height="1"/>')
        left += width
    return Markup(
        '<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rest" width="100" height="1"/>{"".join(bar)}</svg>'
    )
