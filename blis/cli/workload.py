"""From flags to the workload to run: a spec, a built-in workload or ServeGen data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from blis.cli.flags import micros
from blis.cli.kinds import refuse_other, written
from blis.cli.streams import warn
from blis.cli.workload_flags import SERVEGEN_FLAGS, SHAPE_FLAGS, TraceFlags, WorkloadFlags
from blis.errors import BlisError, Problem, SpecError
from blis.spec.overrides import COMMAND_LINE, flag
from blis.spec.scenarios import SCENARIOS, scenario_file
from blis.spec.words import did_you_mean, listed, shown

if TYPE_CHECKING:
    from blis.spec.presets import Lengths
    from blis.spec.workload import WorkloadSpec

__all__ = ["NamedWorkload", "Notes", "load", "trace_to_replay"]

_DISTRIBUTION = "distribution"
_REPLAY = "traces"
_DEFAULT_REQUESTS = 100
_NO_FILE = "<spec>"
_NONE_GIVEN = (
    "no workload: give a SPEC file, a built-in one (--workload chatbot) or measured data (--servegen FOLDER);"
    " 'blis simulate --help' has examples"
)
_FLAG_OF = {
    **{place: flag(place) for place in ("seed", "num_requests", "horizon", "rate", *SHAPE_FLAGS)},
    **{f"servegen_data.{name}": flag(name) for name in SERVEGEN_FLAGS},
    "aggregate_rate": "--rate",
    "servegen_data.path": "--servegen",
}
"""What a place in a spec, or an argument of a preset, is called on the command line."""


class NamedWorkload(NamedTuple):
    """A workload, what the report calls it, and the file it came from, if any."""

    spec: WorkloadSpec
    name: str
    file: str | None = None


class Notes:
    """Takes the warnings about a workload: keeps them as ``texts`` and, unless ``quiet``, prints them."""

    def __init__(self, workload: NamedWorkload, *, quiet: bool) -> None:
        self.texts: list[str] = []
        self._name = workload.name
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        """Take a warning."""
        # A workload that came from no file has no name of its own.
        text = f"{self._name}{text.removeprefix(_NO_FILE)}" if text.startswith(_NO_FILE) else text
        self.texts.append(text)
        if not self._quiet:
            warn(text)


def load(flags: WorkloadFlags) -> NamedWorkload:
    """Return the workload that the flags describe.

    Raises:
        BlisError: file or flags are wrong, or contradict each other.
    """
    file = _spec_file(flags)
    if file is not None:
        why = f"{file} says this itself; change it there, or use --workload in place of the spec"
        _refuse(flags, SHAPE_FLAGS, why)
        return NamedWorkload(_from_spec(flags, file), file, file)
    if flags.servegen is not None:
        if flags.workload is not None:
            text = f"--workload {flags.workload} is another workload; leave one of them out"
            raise _contradiction("--servegen", text)
        _refuse(flags, SHAPE_FLAGS, "--servegen has lengths and arrivals of its own")
        return NamedWorkload(_from_servegen(flags), f"ServeGen data in {flags.servegen}")
    name = flags.workload
    if name is None:
        if all(getattr(flags, given) is None for given in ("rate", "num_requests", "horizon", *SHAPE_FLAGS)):
            raise BlisError(_NONE_GIVEN)
        name = _DISTRIBUTION
    _refuse(flags, SERVEGEN_FLAGS, f"the built-in workload {name} has no ServeGen data; give --servegen FOLDER")
    if name in SCENARIOS:
        _refuse(flags, SHAPE_FLAGS, f"{name} has its own; 'blis convert preset {name}' shows them")
        return NamedWorkload(_from_spec(flags, str(scenario_file(name))), f"built-in workload {name}")
    return NamedWorkload(_built_in(flags, name), f"built-in workload {name}")


def trace_to_replay(flags: WorkloadFlags, traced: TraceFlags) -> str | None:
    """Return the trace whose requests are the workload, None where the workload is another.

    Raises:
        BlisError: there is no trace, or there are flags for which a trace leaves no room.
    """
    path = traced.workload_traces_filepath
    alone = not (flags.workload or flags.spec or flags.servegen)
    if flags.workload_spec or not (flags.workload == _REPLAY or (alone and path)):
        names = [field.name for field in fields(TraceFlags)]
        _refuse(traced, names, f"the workload is another one; --workload {_REPLAY} replays a trace")
        return None
    if path is None:
        raise BlisError(f"--workload {_REPLAY}: say which trace to replay: --workload-traces-filepath TRACE")
    _spec_file(flags)
    _refuse(flags, ("servegen", *SERVEGEN_FLAGS, *SHAPE_FLAGS), "a trace has lengths and arrivals of its own")
    _refuse(flags, ("rate",), "a trace has arrivals of its own; 'blis replay TRACE --speed 2' plays it twice as fast")
    return path


def _spec_file(flags: WorkloadFlags) -> str | None:
    """Return the spec's file, None where none was given."""
    if flags.workload_spec is None:
        if flags.spec is not None and flags.workload is not None:
            text = f"{flags.spec} is a workload too; leave one of them out"
            raise _contradiction(f"--workload {flags.workload}", text)
        return flags.spec
    if flags.spec is not None and os.path.abspath(flags.spec) != os.path.abspath(flags.workload_spec):
        text = f"is {flags.workload_spec}, but SPEC is {flags.spec}; leave one of them out"
        raise _contradiction("--workload-spec", text)
    if flags.workload is not None:
        warn(f"--workload {flags.workload} isn't used, since --workload-spec {flags.workload_spec} wins over it")
    return flags.workload_spec


def _refuse(flags: WorkloadFlags | TraceFlags, names: Iterable[str], why: str) -> None:
    """Raise an error for each of the flags that was given."""
    given = [flag(name) for name in names if getattr(flags, name) is not None]
    if given:
        raise SpecError([Problem(COMMAND_LINE, None, name, f"can't be used here: {why}") for name in given])


def _contradiction(name: str, text: str) -> SpecError:
    return SpecError([Problem(COMMAND_LINE, None, name, text)])


def _ends(flags: WorkloadFlags) -> dict[str, Any]:
    return {
        "seed": flags.seed,
        "num_requests": flags.num_requests,
        "horizon": None if flags.horizon is None else micros(flags.horizon),
    }


def _servegen_options(flags: WorkloadFlags) -> dict[str, Any]:
    options = {name: getattr(flags, name) for name in SERVEGEN_FLAGS}
    return {name: value for name, value in {"path": flags.servegen, **options}.items() if value is not None}


def _from_spec(flags: WorkloadFlags, file: str) -> WorkloadSpec:
    from blis.spec.workload import load_workload

    overrides = _ends(flags)
    options = _servegen_options(flags)
    if options or flags.rate is not None:
        data = written(file)
        _check_servegen(options, data, file)
        if flags.rate is not None:
            _check_rate(data, file)
    overrides |= {"aggregate_rate": flags.rate, "servegen_data": options or None}
    try:
        return load_workload(file, overrides=overrides)
    except SpecError as error:
        refuse_other(file, "workload")
        raise _in_flags(error) from None


def _check_servegen(options: Mapping[str, Any], data: Mapping[str, Any], file: str) -> None:
    if not options or data.get("servegen_data") is not None:
        return
    kind = next((key for key in ("clients", "cohorts") if data.get(key)), None)
    if kind is not None:
        names = ["--servegen" if name == "path" else flag(name) for name in options]
        text = f"{file} has {kind} and no servegen_data; to run both together, add servegen_data to the file"
        raise SpecError([Problem(COMMAND_LINE, None, name, f"can't be used here: {text}") for name in names])


def _check_rate(data: Mapping[str, Any], file: str) -> None:
    if data.get("aggregate_rate"):
        return
    for key in ("clients", "cohorts"):
        senders = data.get(key)
        for index, sender in enumerate(senders if isinstance(senders, list) else ()):
            if isinstance(sender, Mapping) and sender.get("rate") is not None:
                text = (
                    f"is a total for {key} to share, but {file} gives them rates of their own ({key}[{index}].rate is"
                    f" {shown(sender['rate'])}); change those, or give each a rate_fraction in their place"
                )
                raise _contradiction("--rate", text)


def _from_servegen(flags: WorkloadFlags) -> WorkloadSpec:
    from blis.spec.workload import workload_from_dict

    options = _servegen_options(flags)
    data = {"version": "2", **_ends(flags), "aggregate_rate": flags.rate, "servegen_data": options}
    if flags.horizon is None and flags.num_requests is None:
        start, end = flags.span_start or 0.0, flags.span_end
        if end is None:
            raise BlisError("--servegen: say how much of the data to run: --span-end, --horizon or --num-requests")
        if end > start:
            data["horizon"] = f"{end - start:.6f}s"
    try:
        return workload_from_dict({key: value for key, value in data.items() if value is not None})
    except SpecError as error:
        raise _in_flags(error) from None


def _built_in(flags: WorkloadFlags, name: str) -> WorkloadSpec:
    from blis.spec.presets import DEFAULT_LENGTHS, PRESETS, distribution

    names = (_DISTRIBUTION, *PRESETS, *SCENARIOS)
    if name == _REPLAY:
        raise BlisError(
            f"--workload {_REPLAY}: a trace has its requests already; blis simulate and blis replay send them"
        )
    if name not in names:
        text = f"unknown workload {shown(name)}{did_you_mean(name, names)}; allowed: {listed(names)}"
        raise _contradiction("--workload", text)
    prompt, output = PRESETS.get(name, (DEFAULT_LENGTHS, DEFAULT_LENGTHS))
    given = {
        key: value for key in ("rate", "arrival", "cv", "prefix_tokens") if (value := getattr(flags, key)) is not None
    }
    given |= {key: value for key, value in _ends(flags).items() if value is not None}
    if flags.horizon is None and flags.num_requests is None:
        given["num_requests"] = _DEFAULT_REQUESTS
    prompt, output = _lengths(flags, "prompt", prompt), _lengths(flags, "output", output)
    try:
        return distribution(prompt, output, name=name, **given)
    except SpecError as error:
        raise _in_flags(error) from None


def _lengths(flags: WorkloadFlags, side: str, lengths: Lengths) -> Lengths:
    """Return the preset's lengths with the flags' in their place.

    Raises:
        SpecError: a mean that the limits, of which at least one is the preset's own, would cut off.
    """
    fields = {"mean": "", "stdev": "_stdev", "min": "_min", "max": "_max"}
    given = {
        field: value for field, end in fields.items() if (value := getattr(flags, f"{side}_tokens{end}")) is not None
    }
    changed = replace(lengths, **given)
    if "mean" in given:
        for limit, outside in (("min", changed.mean < changed.min), ("max", changed.mean > changed.max)):
            if outside and limit not in given:
                value, needed = getattr(changed, limit), flag(f"{side}_tokens_{limit}")
                text = f"is {changed.mean:g}, beyond the workload's own limit of {value:g}; give {needed} too"
                raise _contradiction(flag(f"{side}_tokens"), text)
    return changed


def _in_flags(error: SpecError) -> SpecError:
    """Return the error with flags in the place of the spec's keys where a flag was at fault."""
    return SpecError([_renamed(problem) for problem in error.problems])


def _renamed(problem: Problem) -> Problem:
    name = _FLAG_OF.get(problem.path)
    if name is None or problem.line is not None:
        return problem
    return Problem(COMMAND_LINE, None, name, problem.message)
