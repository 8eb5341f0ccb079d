"""YAML that remembers its lines: safe, strict about duplicate keys, with the numbers of YAML 1.2.

Only plain data comes out (mappings, lists, text, numbers, booleans, null). ``1e6`` is a number, ``yes``, ``on`` and
``12:30`` are text, digits may be grouped as in ``1_000_000``. Anchors, aliases and merge keys (``<<``) work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from pathlib import Path as FilePath
from typing import Any

import yaml

from blis.errors import Problem, SpecError
from blis.spec.words import Path, path_text, shown, step

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # libyaml is an optional part of PyYAML
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

__all__ = ["Locate", "load_yaml", "nowhere", "read_text"]

Locate = Callable[[Path], int | None]
"""Gives the line, counted from 1, of the key or item at a path, or of its nearest ancestor that was written."""

_MAX_DEPTH = 100
_MOST_DIGITS = 100
_TAG = "tag:yaml.org,2002:"
_SPECIAL = re.compile(r"\.(inf|nan)", re.IGNORECASE)
_DIGITS = r"[0-9]+(?:_[0-9]+)*"


class _Loader(_BaseLoader):
    """Composes nodes; scalars are resolved by the core schema of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012, as PyYAML declares it


for _name, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"[-+]?{_DIGITS}|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        rf"[-+]?(?:\.[0-9]+|{_DIGITS}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
]:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _first)


def nowhere(path: Path) -> int | None:
    """The locator of input without lines, such as a Python dictionary."""
    return None


def read_text(path: str | FilePath) -> str:
    """Return the text of a spec's file, which is UTF-8, with or without a byte order mark.

    Raises:
        SpecError: the file can't be read, or holds something else.
    """
    file = str(path)
    try:
        return FilePath(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SpecError([Problem(file, None, "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SpecError([Problem(file, line, "", f"isn't text in UTF-8: {error.reason}")]) from None
    except ValueError as error:
        raise SpecError([Problem(file, None, "", f"cannot be read: {error}")]) from None


def load_yaml(text: str, file: str, problems: list[Problem] | None = None) -> tuple[Any, Locate]:
    """Read one YAML document; return its data and the function that finds lines.

    Text that isn't YAML raises at once. Duplicate keys, unsupported tags and the like are appended to ``problems``
    where that list is given (so that they can be reported together with what :func:`validate` finds) and raised
    otherwise. An empty document is None.

    Raises:
        SpecError: with file and line.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                line = None if event.start_mark is None else event.start_mark.line + 1
                raise SpecError([Problem(file, line, "", f"nested more than {_MAX_DEPTH} levels deep")])
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeError) as error:
        raise SpecError([_syntax_problem(error, text, file)]) from None
    builder = _Builder(file)
    data = None if root is None else builder.build(root, ())
    if problems is not None:
        problems += builder.problems
    elif builder.problems:
        raise SpecError(sorted(builder.problems, key=lambda problem: problem.line or 0))
    return data, builder.locator(root)


def _syntax_problem(error: Exception, text: str, file: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(file, None, "", f"not readable as text: {_one_line(str(error))}")
    mark = error.problem_mark or error.context_mark
    what = ", ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return Problem(file, None, "", f"not valid YAML: {_one_line(what)}")
    at_tab = text.splitlines()[mark.line : mark.line + 1] and text.splitlines()[mark.line].startswith("\t", mark.column)
    hint = "; indent with blanks, not with tabs" if at_tab else ""
    return Problem(file, mark.line + 1, "", f"not valid YAML: {_one_line(what)}{hint}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


class _Builder:
    """Turns nodes into data, once per node (aliases share their object), and keeps where each key was written."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._built: dict[int, Any] = {}
        self._open: set[int] = set()
        self._entries: dict[int, dict[Any, tuple[yaml.Node, yaml.Node]]] = {}

    def build(self, node: yaml.Node, path: Path) -> Any:
        key = id(node)
        if key in self._built:
            return self._built[key]
        if key in self._open:
            self._report(node, path, "an alias to a value that contains it")
            return None
        self._open.add(key)
        if isinstance(node, yaml.MappingNode):
            value: Any = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            self._check_tag(node, path, "seq")
            value = [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        else:
            value = self._scalar(node, path)
        self._open.discard(key)
        self._built[key] = value
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[Any, Any]:
        self._check_tag(node, path, "map")
        entries: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            key = self.build(key_node, path)
            if not isinstance(key, Hashable):
                self._report(key_node, path, f"a key must be text or a number, found {shown(key)}")
            elif key in entries:
                first = entries[key][0].start_mark.line + 1
                self._report(key_node, (*path, step(key)), f"duplicate key {shown(key)}, first given on line {first}")
            else:
                entries[key] = (key_node, value_node)
        self._entries[id(node)] = entries
        data = {key: self.build(value_node, (*path, step(key))) for key, (_, value_node) in entries.items()}
        for base in merged:
            self._merge(base, path, entries, data)
        return data

    def _merge(self, base: yaml.Node, path: Path, entries: dict[Any, Any], data: dict[Any, Any]) -> None:
        values = self.build(base, path)
        if not isinstance(values, dict):
            self._report(base, path, f"<< takes a mapping or a list of mappings, found {shown(values)}")
            return
        for key, value in values.items():
            if key not in data:
                data[key] = value
                entries[key] = self._entries[id(base)][key]

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        try:
            match kind:
                case "str" | "merge":
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int" if len(text) > _MOST_DIGITS:
                    self._report(node, path, f"a number of {len(text)} digits is too long")
                    return text
                case "int":
                    return int(text, 0) if text.lower().startswith(("0x", "0o")) else int(text)
                case "float":
                    return float(_SPECIAL.sub(r"\1", text))
        except (ValueError, KeyError):
            self._report(node, path, f"cannot be read as {kind}: {shown(text)}")
            return text
        self._report(node, path, f"the tag {kind} is not supported; give a plain value")
        return text

    def _check_tag(self, node: yaml.Node, path: Path, expected: str) -> None:
        if node.tag != _TAG + expected:
            self._report(node, path, f"the tag {node.tag.removeprefix(_TAG)} is not supported; give a plain value")

    def _report(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, path_text(path), message))

    def locator(self, root: yaml.Node | None) -> Locate:
        """Return the function from path to line; it walks the nodes only when asked."""

        def locate(path: Path) -> int | None:
            node = root
            line = 1 if root is None else root.start_mark.line + 1
            for part in path:
                if isinstance(node, yaml.MappingNode):
                    entries = self._entries.get(id(node), {})
                    found = entries.get(part) or next((e for k, e in entries.items() if step(k) == part), None)
                    if found is None:
                        break
                    line, node = found[0].start_mark.line + 1, found[1]
                elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
                    node = node.value[part]
                    line = node.start_mark.line + 1
                else:
                    break
            return line

        return locate
