"""Flags that ask for prediction intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from blis.errors import BlisError
from blis.spec.overrides import flag

if TYPE_CHECKING:
    from blis.calibration.uncertainty import Intervals
    from blis.metrics import Summary
    from blis.spec.deployment import DeploymentSpec
    from blis.spec.workload import WorkloadSpec
    from blis.trace import Trace

__all__ = ["UncertaintyFlags", "wanted"]

_NUMBERS = ("draws", "draw_seed", "workers")
_PANEL = "Uncertainty of a fitted latency model"


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyFlags:
    """Whether and how prediction intervals are found; None where a flag wasn't given."""

    uncertainty: Annotated[
        bool,
        Option(
            "--uncertainty",
            metavar="",
            help="Simulate with other coefficients too, drawn from the covariance of a model that blis fit wrote, and"
            " give 95 % prediction intervals.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    draws: Annotated[
        int | None,
        Option(
            metavar="N",
            help="Draws of the coefficients, each of which costs a simulation. Default: 100.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    draw_seed: Annotated[
        int | None, Option(metavar="N", help="Seed of the draws. Default: 0.", rich_help_panel=_PANEL)
    ] = None
    workers: Annotated[
        int | None,
        Option(metavar="N", help="Processes that simulate the draws. Default: 1.", rich_help_panel=_PANEL),
    ] = None


def wanted(
    flags: UncertaintyFlags, what: WorkloadSpec | Trace, deployment: DeploymentSpec, **options: Any
) -> Callable[[Summary], Intervals] | None:
    """Return what finds the intervals of a simulation, given its summary; None where the flags don't ask for them.

    Raises:
        BlisError: flags that need ``--uncertainty``, or a latency model that doesn't know how sure it is.
    """
    given = {name: value for name in _NUMBERS if (value := getattr(flags, name)) is not None}
    if not flags.uncertainty:
        if given:
            raise BlisError(f"{flag(next(iter(given)))}: needs --uncertainty, which it belongs to")
        return None

    from blis.calibration.uncertainty import check

    check(deployment, **{name: value for name, value in given.items() if name != "draw_seed"})

    def intervals(summary: Summary) -> Intervals:
        from blis.calibration.uncertainty import uncertainty

        return uncertainty(what, deployment, point=summary, **given, **options)

    return intervals
