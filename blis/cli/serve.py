"""``blis serve``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from blis.cli import deployment_flags
from blis.cli.deployment_flags import DeploymentFlags
from blis.cli.flags import takes_flags
from blis.cli.streams import write_out

if TYPE_CHECKING:
    import asyncio

    from blis.serve import Server

__all__ = ["app"]

_SERVER = "Server"
_EPILOG = """\
Examples:

  blis serve

  blis serve --deployment cluster.yaml --port 0 --speed 10

  blis serve --model qwen3-14b --hardware A100-80 --faults 429=0.05,hang=0.01,disconnect=0.01

It serves /v1/completions, /v1/chat/completions and /v1/models, /tokenize, /health, /version and /metrics as vLLM does,
until it is interrupted.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenFlags:
    """Where and how the server answers."""

    host: Annotated[str, Option(metavar="ADDRESS", help="Address to listen at.", rich_help_panel=_SERVER)] = "127.0.0.1"
    port: Annotated[int, Option(metavar="N", help="Port to listen at; 0: any free one.", rich_help_panel=_SERVER)] = (
        8000
    )
    speed: Annotated[
        float,
        Option(metavar="FACTOR", help="Let simulated time pass so many times as fast.", rich_help_panel=_SERVER),
    ] = 1.0
    served_model_name: Annotated[
        str | None,
        Option(metavar="NAME", help="What clients call the model. Default: its own name.", rich_help_panel=_SERVER),
    ] = None
    answer_tokens: Annotated[
        float,
        Option(
            metavar="N",
            help="Mean length of answers to requests without ignore_eos; they end earlier where max_tokens says so.",
            rich_help_panel=_SERVER,
        ),
    ] = 256.0
    api_key: Annotated[
        str | None,
        Option(
            metavar="SOURCE",
            help="Where the key is that clients must show: env:NAME or a file. Default: the environment variable "
            "BLIS_API_KEY, if set; otherwise they need none.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    faults: Annotated[
        str | None,
        Option(
            metavar="KIND=RATE,...",
            help="Fail on purpose, each kind at a rate from 0 to 1: 429, 500, hang, disconnect, malformed.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    seed: Annotated[int, Option(metavar="N", help="Seed of the faults.", rich_help_panel=_SERVER)] = 0


@app.command(name="serve", epilog=_EPILOG)
@takes_flags
def serve(cluster: DeploymentFlags, flags: ListenFlags) -> None:
    """Be an OpenAI-compatible server: a simulated cluster in real time, for tests and trials without a GPU.

    Answers are words without meaning, with the lengths that were asked for, at the times the simulation says.
    """
    deployment = deployment_flags.load(cluster)

    from blis.serve import Server, parse_faults
    from blis.server.keys import api_key
    from blis.server.loop import allow_many_sockets, loop_runner, quiet_collector

    key = api_key(flags.api_key or "")
    server = Server(
        deployment,
        host=flags.host,
        port=flags.port,
        speed=flags.speed,
        faults=parse_faults(flags.faults) if flags.faults else {},
        seed=flags.seed,
        key=key,
        model=flags.served_model_name or "",
        answer_tokens=flags.answer_tokens,
    )
    allow_many_sockets()
    with loop_runner() as runner, quiet_collector():
        cut = runner.run(_serve(server, lambda: write_out(_facts(server, flags, protected=bool(key)))))
    answers = f"; {cut} answers were cut short" if cut else ""
    write_out(f"blis: stopped after {server.answered:,} requests{answers}\n")


async def _serve(server: Server, ready: Callable[[], None]) -> int:
    """Serve until told to stop, and return how many answers that has cut short."""
    import asyncio

    over = asyncio.Event()
    async with server:
        _stop_on_signals(over)
        ready()
        await server.until(over)
        return await server.stop()


def _stop_on_signals(over: asyncio.Event) -> None:
    """Let the signals that ask programs to end set ``over``; where loops know no signals, Ctrl-C ends the loop."""
    import asyncio
    import signal

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.set)


def _facts(server: Server, flags: ListenFlags, *, protected: bool) -> str:
    kinds: dict[tuple[str, str, int, int], int] = {}
    for config in server.configs:
        kind = (config.model.name, config.hardware.name, config.tp, config.total_kv_blocks)
        kinds[kind] = kinds.get(kind, 0) + 1
    lines = [f"blis: serving {', '.join(server.models)} at {server.url}"]
    for (model, hardware, tp, blocks), count in kinds.items():
        gpus = f"{tp} {hardware} each" if tp > 1 else hardware
        lines.append(f"  {count} x {model} on {gpus}, {blocks:,} KV blocks")
    if len({config.model.name for config in server.configs}) > 1:
        lines.append("  requests go to any instance, whatever model they ask for: routing by model is not modelled")
    if flags.speed != 1:
        lines.append(f"  time passes {flags.speed:g} times as fast")
    if flags.faults:
        lines.append(f"  failing on purpose: {flags.faults}")
    if protected:
        lines.append("  clients must show the API key")
    return "".join(f"{line}\n" for line in lines)
