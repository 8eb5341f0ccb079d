"""Groups of flags become parameters that typer understands."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer

from blis.cli.deployment_flags import DeploymentFlags
from blis.cli.flags import micros, takes_flags
from blis.errors import SpecError
from blis.spec.overrides import FLAGS


@dataclass(frozen=True)
class Group:
    size: Annotated[int | None, typer.Option(metavar="N")] = None
    share: Annotated[float | None, typer.Option(metavar="X")] = None
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None
    loud: Annotated[bool, typer.Option("--loud")] = False


def call(**values: Any) -> tuple[str, Group]:
    received: list[tuple[str, Group]] = []

    @takes_flags
    def command(word: str, group: Group) -> None:
        received.append((word, group))

    everything = {"size": None, "share": None, "name": None, "loud": False, **values}
    command(word="w", **everything)
    (found,) = received
    return found


def test_numbers_come_as_texts() -> None:
    assert call(size="12", share="0.5", name="12", loud=True) == ("w", Group(12, 0.5, "12", True))
    assert call(size=str(2**60 + 1)) == ("w", Group(2**60 + 1))


def test_all_wrong_values_at_once() -> None:
    with pytest.raises(SpecError) as error:
        call(size="x", share="", name="")
    assert [str(problem) for problem in error.value.problems] == [
        "command line: --size: must be a whole number, found 'x'",
        "command line: --share: is empty; give a value, or leave it out",
        "command line: NAME: is empty; give a value, or leave it out",
    ]


def test_the_signature_is_flat() -> None:
    @takes_flags
    def command(word: str, group: Group) -> None:
        """What it does."""

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["word", "size", "share", "name", "loud"]
    assert parameters["loud"].default is False
    assert command.__doc__ == "What it does."


def test_every_override_of_a_deployment_is_a_flag() -> None:
    assert set(FLAGS) == set(DeploymentFlags.__dataclass_fields__) - {"deployment"}


@pytest.mark.parametrize(("text", "value"), [("1500", 1500), ("2ms", "2ms"), ("-5", "-5"), ("١٢", "١٢")])
def test_times(text: str, value: int | str) -> None:
    assert micros(text) == value
