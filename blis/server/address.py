"""Where a server is, from its URL."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from blis.errors import BlisError

__all__ = ["Address"]

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Scheme, host and port of a server, and what its paths begin with (empty, or ``/some/where``)."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL such as ``http://localhost:8000``; a ``/v1`` at its end may be given or left out.

        Raises:
            BlisError: where it isn't one, or has a user or password in it.
        """
        example = "; give one such as http://localhost:8000"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BlisError(f"server URL {url!r}: {error}{example}") from None
        if "@" in parts.netloc:
            raise BlisError(
                "server URL: holds a user name or password, which would end up in files; leave it out and use --api-key"
            )
        if parts.scheme not in _PORTS or not parts.hostname:
            raise BlisError(f"server URL {url!r}: must begin with http:// or https:// and name a host{example}")
        if parts.query or parts.fragment:
            raise BlisError(f"server URL {url!r}: must end before any '?' or '#'{example}")
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], prefix)

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"
