"""``blis convert``: workload specs from what other programs have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blis.cli import workload
from blis.cli.flags import takes_flags
from blis.cli.outputs import check_writable
from blis.cli.streams import warn, write_out
from blis.cli.workload_flags import EndFlags, ServeGenFlags, ShapeFlags, WorkloadFlags
from blis.errors import BlisError, SpecError

if TYPE_CHECKING:
    from blis.spec.workload import WorkloadSpec

__all__ = ["OUT", "app", "check_out", "give_spec"]

OUT = typer.Option("--out", "-o", metavar="FILE", help="Write the spec to a file. Default: standard output.")
_SERVEGEN_EPILOG = """\
Examples:

  blis convert servegen DATA --span-end 86400 --out day.yaml

  blis convert servegen DATA --span-start 28800 --span-end 32400 --as-clients --out morning.yaml
"""
_INFERENCE_PERF_EPILOG = """\
Example:

  blis convert inference-perf config.yml --out workload.yaml
"""
_PRESET_EPILOG = """\
Example:

  blis convert preset chatbot --rate 20 --horizon 10min --arrival gamma --cv 3 --out chat.yaml
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich", no_args_is_help=True)


@app.callback()
def convert() -> None:
    """Write workload specs from ServeGen data, inference-perf files and built-in workloads.

    Traces of other formats are converted by 'blis trace convert', and turned into specs by 'blis describe --fit-spec'.
    """


@app.command(name="servegen", epilog=_SERVEGEN_EPILOG)
@takes_flags
def servegen(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of chunk-N-trace.csv and -dataset.json.")],
    options: ServeGenFlags,
    ends: EndFlags,
    as_clients: Annotated[
        bool,
        typer.Option(
            "--as-clients",
            metavar="",
            help="Write each chunk out as a client, with its rates over time and its lengths, so that the spec can be "
            "read and changed and doesn't need the data.",
        ),
    ] = False,
    out: Annotated[str | None, OUT] = None,
) -> None:
    """Write a spec for ServeGen data: one that refers to the folder, or one of explicit clients."""
    if options.span_end is None and ends.horizon is None and ends.num_requests is None:
        raise BlisError(f"{folder}: say how much of the data to use: --span-end, --horizon or --num-requests")
    spec = _load(WorkloadFlags(servegen=folder, **asdict(options), **asdict(ends)), {"--servegen": "FOLDER"})
    check_out(out, [])
    if as_clients:
        from blis.convert import expanded

        give_spec(expanded(spec, warn), out, f"ServeGen data in {folder}, written out as clients.")
        return
    from blis.spec.servegen_data import find_chunks

    find_chunks(Path(folder), warn)
    give_spec(spec, out, f"ServeGen data in {folder}.")


@app.command(name="inference-perf", epilog=_INFERENCE_PERF_EPILOG)
@takes_flags
def inference_perf(
    config: Annotated[str, typer.Argument(metavar="FILE", help="The configuration, a YAML file.")],
    out: Annotated[str | None, OUT] = None,
) -> None:
    """Write a spec for a configuration of inference-perf.

    Loads may be constant, poisson or concurrent; data synthetic, random or shared_prefix.
    """
    from blis.convert import from_inference_perf

    check_out(out, [config])
    give_spec(from_inference_perf(config, warn), out, f"The workload of the inference-perf configuration {config}.")


@app.command(name="preset", epilog=_PRESET_EPILOG)
@takes_flags
def preset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A built-in workload, as --workload takes it.")],
    ends: EndFlags,
    shape: ShapeFlags,
    out: Annotated[str | None, OUT] = None,
) -> None:
    """Write a spec for a built-in workload, as a start for one of your own."""
    spec = _load(WorkloadFlags(workload=name, **asdict(ends), **asdict(shape)), {"--workload": "NAME"})
    check_out(out, [])
    give_spec(spec, out, f"The built-in workload {name}.")


def give_spec(spec: WorkloadSpec, out: str | None, comment: str) -> None:
    """Write a spec to a file or, without one, to standard output, below a line that says what it is.

    Raises:
        BlisError: It can't be written.
    """
    data = spec.servegen_data
    if out is not None and data is not None and not os.path.isabs(data.path):
        # The path in a spec starts from the spec's folder.
        moved = data.model_copy(update={"path": os.path.relpath(data.path, Path(out).parent)})
        spec = spec.model_copy(update={"servegen_data": moved})
    text = f"# {comment}\n{spec.text}"
    if out is None:
        write_out(text)
        return
    from blis.cli.results import write_file

    write_file(Path(out), text.encode())


def _load(flags: WorkloadFlags, names: Mapping[str, str]) -> WorkloadSpec:
    """Return the workload of some flags; in errors, flags that this command doesn't have get other ``names``."""
    try:
        return workload.load(flags).spec
    except SpecError as error:
        problems = [replace(problem, path=names.get(problem.path, problem.path)) for problem in error.problems]
        raise SpecError(problems) from None


def check_out(out: str | None, inputs: Iterable[str]) -> None:
    """Make sure that ``--out`` can be written and is none of the ``inputs``.

    Raises:
        BlisError: naming the flag.
    """
    if out is not None:
        check_writable({f"--out {out}": [Path(out)]}, inputs)
