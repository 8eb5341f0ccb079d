"""``blis version``."""

from __future__ import annotations

import typer

from blis.cli.streams import write_out

__all__ = ["app"]

_LIBRARIES = ("numpy", "scipy", "simpy", "pydantic", "pandas", "typer", "rich")

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(name="version")
def version() -> None:
    """Print the versions of blis, of Python and of the libraries that results or output depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from blis import __version__

    lines = [f"blis {__version__}", f"python {platform.python_version()}"]
    for library in _LIBRARIES:
        try:
            lines.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            lines.append(f"{library} isn't installed")
    write_out("".join(f"{line}\n" for line in lines))
