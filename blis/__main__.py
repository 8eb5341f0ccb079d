"""The start of the command line: ``blis`` and ``python -m blis``.

PyPI has a linear-algebra library whose distribution is called ``blis`` and whose import name is ``blis`` too. Where
both are installed into one directory each overwrites files of the other, so this module imports nothing of blis before
it has looked.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]

_SHARED_DIRECTORY = """\
blis: error: two distributions own the import name 'blis' in {directory}:
  blis-sim (this program) and blis {version} (a linear-algebra library that spaCy and thinc use).
  Each has overwritten files of the other, so neither can be trusted. Either install blis-sim into an environment of its
  own ('python3 -m venv blis-env' makes one), or, if nothing here needs the linear-algebra library, remove that with
  'pip uninstall --yes blis' and repair blis-sim: install it once more with 'pip install --force-reinstall --no-deps'.
"""

_OTHER_DIRECTORY = """\
blis: warning: the linear-algebra library blis {version} in {directory} has the same import name as blis-sim, which
  hides it here: programs that need it (spaCy, thinc) fail in this environment. Give blis-sim an environment of its own.
"""


def main() -> None:
    """Run the command line; exits with 2 and an explanation where another distribution's files are mixed in."""
    try:
        _look_for_the_other_blis()
        from blis.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("blis: interrupted\n")
        raise SystemExit(130) from None


def _look_for_the_other_blis() -> None:
    from importlib.metadata import distributions

    home = Path(__file__).resolve().parent.parent
    for other in distributions(name="blis"):
        directory = Path(str(other.locate_file(""))).resolve()
        if directory == home:
            sys.stderr.write(_SHARED_DIRECTORY.format(directory=directory, version=other.version))
            raise SystemExit(2)
        sys.stderr.write(_OTHER_DIRECTORY.format(directory=directory, version=other.version))


if __name__ == "__main__":
    main()
