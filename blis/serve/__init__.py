"""The simulated cluster as a server: a deployment in real time behind the OpenAI API."""

from __future__ import annotations

from blis.serve.faults import Fault, parse_faults
from blis.serve.server import Server

__all__ = ["Fault", "Server", "parse_faults"]
