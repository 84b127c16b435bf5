"""Stoker's client: ``stoker.Client(url).submit("folder")``. It speaks HTTP and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoker.client import (
        Client,
        Gap,
        Job,
        LogPiece,
        Refused,
        StokerError,
        Unreachable,
        Worker,
    )

__version__ = "0.1.0"
__all__ = (
    "Client",
    "Gap",
    "Job",
    "LogPiece",
    "Refused",
    "StokerError",
    "Unreachable",
    "Worker",
)


def __getattr__(name: str) -> Any:
    """Loads the client when it is first asked for: ``stoker decode`` starts without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stoker import client

    return getattr(client, name)
