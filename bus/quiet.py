"""Which words of the event loop mean nothing here?"""

from __future__ import annotations

import logging

HARMLESS = "returning true from eof_received()"
"""Told once for each connection that NATS's client begins plainly and goes on with by TLS."""


def without_noise(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(HARMLESS)


def quiet_loop() -> None:
    """Once or more often: a filter is added once."""
    logging.getLogger("asyncio").addFilter(without_noise)
