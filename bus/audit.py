"""Where is it written down who did what? In a stream that takes no change and no deletion."""

from __future__ import annotations

import logging

from bus import subjects
from bus.codec import encode
from bus.connection import Bus
from bus.errors import BusError
from schemas.audit import AuditEntry

log = logging.getLogger(__name__)


async def note(bus: Bus, service: str, entry: AuditEntry) -> None:
    """Written when this returns. Raises ``BusError``: what cannot be noted is not done."""
    data, headers = encode(entry)
    await bus.append(subjects.audit(service, entry.deed), data, headers)


async def note_late(bus: Bus, service: str, entry: AuditEntry) -> None:
    """For what has been done already: a failure is logged, with the entry."""
    try:
        await note(bus, service, entry)
    except BusError as error:
        log.error("the audit misses %s: %s", entry.model_dump_json(), error)
