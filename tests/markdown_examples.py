"""Finds the code blocks of a Markdown page and runs them as a reader would, from top to bottom.

A page is run in a folder that holds copies of specs/ and traces/; blocks see the files that earlier blocks wrote. What
a block must do is said by the words after its opening fence:

python      is executed; with >>> prompts it is a doctest. All Python blocks of a page share their names.
console     has commands ($ ...) that start blis or only read files: each is executed and must end with exit code 0, or
            with N where the fence says exit=N. Lines below a command must be in its output, in that order; "..." stands
            for anything in a line, and for any lines where it stands alone. Commands that set a machine up are not run.
yaml        is parsed; a workload or deployment must be a valid one. file=NAME writes it for later blocks.
json        the same, without the check.
csv, text   with file=NAME are written for later blocks; text without it is not run.

Blocks of mermaid and those without any word aren't run. Any other word is refused.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

__all__ = ["DOCTEST_FLAGS", "Block", "Command", "Failure", "Page", "blocks", "commands"]

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
SET_UP = ("make", "git", "pip", "cd", "python3 -m venv", "source", ".venv/bin/pip")
"""Commands that set a machine up; the build's own tests cover them."""
RUNNABLE = ("blis", "python -m blis", "python", "cat", "head", "ls", "wc", "cut", "sort", "cmp", "diff", "echo")
NOT_RUN = ("", "mermaid")
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Failure(AssertionError):
    """An example that doesn't do what the page says; the text starts with file and line."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the options after it, its text, and the line of its opening fence, from 1."""

    language: str
    options: dict[str, str]
    text: str
    line: int


def blocks(markdown: str) -> Iterator[Block]:
    """Yield the fenced code blocks of ``markdown`` in order; an unclosed fence is a :class:`Failure`."""
    lines = markdown.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        start = number + 1
        number += 1
        if opening is None:
            continue
        words = opening["info"].split()
        body = []
        while number < len(lines) and lines[number].strip() != "```":
            body.append(lines[number].removeprefix(opening["indent"]))
            number += 1
        if number == len(lines):
            raise Failure(f"line {start}: a code block is never closed")
        number += 1
        options = dict(word.split("=", 1) for word in words[1:])
        yield Block(words[0] if words else "", options, "".join(f"{line}\n" for line in body), start)


@dataclass(frozen=True)
class Command:
    """A shell command of a console block and the output that the page shows below it.

    ``line`` is the page's line of the command, ``shown_from`` that of the first shown line.
    """

    text: str
    shown: tuple[str, ...]
    line: int
    shown_from: int


def commands(block: Block) -> list[Command]:
    """Split a console block; a command goes on after a trailing backslash."""
    found: list[Command] = []
    lines = iter(enumerate(block.text.splitlines(), block.line + 1))
    for line, text in lines:
        if text.startswith("$ "):
            command = text[2:]
            last_line = line
            while command.endswith("\\"):
                last_line, more = next(lines)
                command = command[:-1] + more.strip()
            found.append(Command(command, (), line, last_line + 1))
        elif not found:
            raise Failure(f"line {line}: a console block starts with a command: $ ...")
        else:
            found[-1] = replace(found[-1], shown=(*found[-1].shown, text))
    return found


def starts_with(command: str, prefixes: tuple[str, ...]) -> bool:
    return any(command == prefix or command.startswith(f"{prefix} ") for prefix in prefixes)


def missing_line(shown: tuple[str, ...], output: str) -> str | None:
    """Return the first shown line that doesn't follow the earlier ones in ``output``, None where all do."""
    actual = iter(" ".join(line.split()) for line in output.splitlines())
    for line in shown:
        wanted = " ".join(line.split())
        if wanted in ("", "..."):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("...")))
        if not any(pattern.fullmatch(candidate) for candidate in actual):
            return line
    return None


class Page:
    """One Markdown page with the folder and the names that its blocks share."""

    def __init__(self, path: Path, repository: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.names: dict[str, object] = {"__name__": "__example__"}
        for name in ("specs", "traces"):
            if (repository / name).is_dir():
                shutil.copytree(repository / name, folder / name)
        programs = folder / ".bin"
        programs.mkdir()
        for name, arguments in (("blis", "-m blis "), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(repository),
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }

    def run(self, block: Block) -> None:
        """Run ``block``; raises :class:`Failure` that names the line and what differed."""
        try:
            match block.language:
                case "python":
                    self._python(block)
                case "console":
                    self._console(block)
                case "yaml" | "json" | "csv" | "text":
                    self._data(block)
                case language if language not in NOT_RUN:
                    raise Failure(f"line {block.line}: no rule for '{language}' blocks; see tests/markdown_examples.py")
        except Failure as failure:
            raise Failure(f"{self.path}: {failure}") from None

    def _python(self, block: Block) -> None:
        if ">>>" in block.text:
            self._doctest(block)
        else:
            exec(compile("\n" * block.line + block.text, str(self.path), "exec"), self.names)

    def _doctest(self, block: Block) -> None:
        report: list[str] = []
        if self.examine(block, doctest.DocTestRunner(optionflags=DOCTEST_FLAGS), report.append):
            raise Failure(f"line {block.line}:\n{''.join(report)}")

    def examine(self, block: Block, runner: doctest.DocTestRunner, out: Callable[[str], object]) -> int:
        """Run the prompts of ``block`` with ``runner`` and return how many failed."""
        name = f"line {block.line}"
        test = doctest.DocTestParser().get_doctest(block.text, self.names, name, str(self.path), block.line)
        test.globs = self.names
        return runner.run(test, out=out, clear_globs=False).failed

    def _console(self, block: Block) -> None:
        for command in commands(block):
            output = self.execute(command, int(block.options.get("exit", "0")))
            missing = None if output is None else missing_line(command.shown, output)
            if missing is not None:
                place = f"line {command.line}: $ {command.text}"
                raise Failure(f"{place}\nthe page shows a line that isn't printed (there):\n{missing}\n\n{output}")

    def execute(self, command: Command, expected: int) -> str | None:
        """Run ``command`` and return what it prints; None, and nothing is run, for one that sets a machine up."""
        if starts_with(command.text, SET_UP):
            return None
        if not starts_with(command.text, RUNNABLE):
            raise Failure(f"line {command.line}: neither a set-up command nor one that is run: {command.text}")
        run = subprocess.run(
            command.text,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if run.returncode != expected:
            place = f"line {command.line}: $ {command.text}"
            raise Failure(f"{place}\nexit code {run.returncode}, not {expected}:\n{run.stdout}")
        return run.stdout

    def _data(self, block: Block) -> None:
        if "file" in block.options:
            target = self.folder / block.options["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        if block.language == "json":
            json.loads(block.text)
        if block.language == "yaml":
            self._check_spec(block)

    def _check_spec(self, block: Block) -> None:
        from blis.errors import BlisError
        from blis.spec.deployment import parse_deployment
        from blis.spec.workload import parse_workload

        data = yaml.safe_load(block.text)
        if not isinstance(data, dict) or "version" not in data or "trace_version" in data:
            return
        parse = parse_workload if data.keys() & {"clients", "servegen_data"} else parse_deployment
        try:
            parse(block.text, f"line {block.line}")
        except BlisError as error:
            raise Failure(str(error)) from None
