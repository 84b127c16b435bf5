"""Which certificate does the embedded nats-server show, and how do its own people check it?"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from bus.link import BusConfig

TLS = """\
tls {{
  cert_file: {cert}
  key_file: {key}
  min_version: "1.2"
  # Who greets by TLS at once is spared the plain greeting.
  handshake_first: auto
  timeout: 5
}}
"""


@dataclass(frozen=True)
class ServerTls:
    """What the embedded nats-server shows, and what its own people check it by."""

    certificate: Path
    """PEM, with the chain; it is taken anew when the file changes."""
    key: Path
    """May be the same file."""
    authority: Path | None = None
    """Who vouches for it; None: somebody whom this machine trusts."""
    name: str | None = None
    """One that the certificate carries; None: that of our own authority."""


def with_tls(config: BusConfig, tls: ServerTls | None) -> BusConfig:
    """How that client meets the embedded server."""
    if tls is None:
        return config
    authority = str(tls.authority) if tls.authority else None
    return replace(config, authority=authority, tls_name=tls.name)


def tls_lines(tls: ServerTls | None) -> str:
    if tls is None:
        return ""
    return TLS.format(cert=json.dumps(str(tls.certificate)), key=json.dumps(str(tls.key)))
