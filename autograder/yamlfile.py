"""Read a YAML file into a strict pydantic model, or say which line and key is wrong.

Only plain YAML values are built (safe loader). Unlike PyYAML's default, a key given twice is refused and text such as
`no` or `1:30` in the place of a string is reported rather than silently turned into a boolean or a number.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from autograder.errors import UserError

MAX_BYTES = 1 << 20
MAX_DEPTH = 40


class StrictModel(BaseModel):
    """A part of a configuration file: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


M = TypeVar("M", bound=BaseModel)
Location = tuple[str | int, ...]


def load_yaml(path: Path, model: type[M]) -> M:
    """Read `path` as a `model`. Raises UserError naming file, line and key of every problem."""
    value, lines = parse_yaml(path)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError("\n".join(_sentence(path, problem, lines, model) for problem in error.errors())) from None


def parse_yaml(path: Path) -> tuple[dict[str, Any], dict[Location, int]]:
    """The mapping in `path` and the line, counted from 1, on which each of its keys and items stands."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES} bytes; that is no configuration file.")
    try:
        loader = yaml.SafeLoader(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            raise UserError(f"{path} is empty.")
        if not isinstance(node, yaml.MappingNode):
            raise UserError(f"{path}, line {node.start_mark.line + 1}: expected `key: value` lines.")
        lines: dict[Location, int] = {}
        _walk(path, node, (), lines, set())
        value = loader.construct_document(node)
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML ({error.problem or error.context}).") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error}).") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML ({type(error).__name__}).") from None
    return value, lines


def _walk(path: Path, node: yaml.Node, at: Location, lines: dict[Location, int], seen: set[int]) -> None:
    """Record lines; refuse duplicate keys, keys that are not text, and aliases (a few lines of them make a billion)."""
    line = node.start_mark.line + 1
    lines.setdefault(at, line)
    if id(node) in seen:
        raise UserError(f"{path}, line {line}: what is named with `&` may not be used again with `*`; write it out.")
    if len(at) > MAX_DEPTH:
        raise UserError(f"{path}, line {line}: nested too deeply.")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{path}, line {where}: a key must be a word.")
            if (*at, key.value) in lines:
                raise UserError(f"{path}, line {where}: `{key.value}` is given twice.")
            lines[*at, key.value] = where
            _walk(path, value, (*at, key.value), lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(path, item, (*at, position), lines, seen)


def _sentence(path: Path, problem: Any, lines: dict[Location, int], model: type[BaseModel]) -> str:
    at: Location = tuple(problem["loc"])
    known = at
    while known and known not in lines:
        known = known[:-1]
    place = f"{path}, line {lines.get(known, 1)}"
    key = ".".join(str(part) for part in at)
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(at[-1]), _keys(model, at[:-1]), n=1)
        meant = ".".join(map(str, (*at[:-1], *close)))
        return f"{place}: unknown key `{key}`" + (f"; did you mean `{meant}`?" if close else ".")
    if problem["type"] == "missing":
        return f"{place}: the key `{key}` is missing."
    if problem["type"] == "timezone_aware":
        when = problem["input"].isoformat()
        return f"{place}: `{key}` should have a time zone, as in {when}+03:00, got {when}."
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    verb = "should be " if problem["msg"].startswith("Input should be ") else ""
    return f"{place}: `{key}` {verb}{message}, got {_short(problem['input'])}."


def _keys(model: type[BaseModel], at: Location) -> list[str]:
    """Keys allowed at a location, as far as it leads through nested models and mappings of them."""
    inner: Any = model
    for part in at:
        if isinstance(inner, type) and issubclass(inner, RootModel):
            inner = inner.model_fields["root"].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            field = inner.model_fields.get(str(part))
            inner = field.annotation if field else None
        else:
            inner = get_args(inner)[-1] if get_origin(inner) is dict else None
    return list(inner.model_fields) if isinstance(inner, type) and issubclass(inner, BaseModel) else []


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
