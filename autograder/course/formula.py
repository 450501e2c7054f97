"""A formula of a policy: text, evaluated by simpleeval in exact rational arithmetic.

A formula may hold numbers, names, `+ - * /`, brackets and the functions `min max floor ceil round relu clip`. A number
means what is written, 0.1 one tenth; `round` takes a half up; `clip(x, low, high)` bounds x.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from simpleeval import InvalidExpression, SimpleEval

LONGEST = 400  # characters
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
NODES = (ast.Expr, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant)


def half_up(value: Fraction) -> Fraction:
    """The nearest whole number; a half goes up."""
    return Fraction(math.floor(value + Fraction(1, 2)))


FUNCTIONS: dict[str, Callable[..., Fraction]] = {
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "round": half_up,
    "relu": lambda value: max(value, Fraction(0)),
    "clip": lambda value, low, high: min(max(value, low), high),
}


def _evaluated(text: str, names: Mapping[str, Fraction]) -> Any:
    """simpleeval with nothing in it but what a formula needs."""
    evaluator = SimpleEval(operators=OPERATORS, functions=FUNCTIONS, names=dict(names))
    evaluator.nodes = {kind: handler for kind, handler in evaluator.nodes.items() if kind in NODES}
    evaluator.nodes[ast.Constant] = _number
    return evaluator.eval(text, _parsed(text))


@lru_cache(maxsize=64)
def _parsed(text: str) -> ast.stmt:
    """A formula is evaluated for every student, and for every grade they could get."""
    parsed: ast.stmt = SimpleEval.parse(text)
    return parsed


def _number(node: ast.Constant) -> Fraction:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise InvalidExpression(f"{node.value!r} is no number")
    return Fraction(str(node.value))


@dataclass(frozen=True)
class Formula:
    """A formula that was looked at: `parse` makes one."""

    text: str

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Formula:
        """Read a formula that may use `names`. Raises ValueError with the rest of a sentence about it."""
        if len(text) > LONGEST:
            raise ValueError(f"is longer than {LONGEST} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError):
            raise ValueError(f"is no formula: {text!r}") from None
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and id(node) not in called and node.id not in names:
                raise ValueError(f"names `{node.id}`; it may name {', '.join(sorted(names)) or 'nothing'}")
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) not in FUNCTIONS:
                raise ValueError(f"calls `{ast.unparse(node.func)}`; there are {', '.join(FUNCTIONS)}")
        formula = cls(text.strip())
        formula.value(dict.fromkeys(names, Fraction(1)))
        return formula

    def value(self, names: Mapping[str, Fraction]) -> Fraction:
        """What it comes to. Raises ValueError with the rest of a sentence if that is no number."""
        try:
            return Fraction(_evaluated(self.text, names))
        except InvalidExpression as error:
            raise ValueError(f"holds what no formula may: {error}") from None
        except ZeroDivisionError:
            raise ValueError("divides by zero") from None
        except (TypeError, OverflowError):
            raise ValueError("gives a function other arguments than it takes") from None

    def filled(self, names: Mapping[str, Fraction]) -> str:
        """The formula with numbers in the place of names, for people: `min(floor(83.5 / 10), 10)`."""
        return ast.unparse(_Filled(names).visit(ast.parse(self.text, mode="eval")))


class _Filled(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, Fraction]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(shown(self._names[node.id])) if node.id in self._names else node


def shown(value: Fraction) -> str:
    """A number for people, never rounded up: 83.5, and of what does not end two decimals and "…"."""
    for digits in (0, 1, 2, 3):
        if (value * 10**digits).denominator == 1:
            text = f"{int(value * 10**digits):0{digits + 2 if value < 0 else digits + 1}d}"
            return text if digits == 0 else f"{text[:-digits]}.{text[-digits:]}"
    cut = math.floor(abs(value) * 100)
    return f"{'-' if value < 0 else ''}{cut // 100}.{cut % 100:02d}…"
