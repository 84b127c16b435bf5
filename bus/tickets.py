"""How does a ticket get into a pool's work stream, and out again?"""

from __future__ import annotations

from bus import subjects
from bus.codec import encode
from bus.connection import Bus
from bus.errors import NotFound, StoreFull
from schemas.worker import Ticket


async def publish_ticket(bus: Bus, pool: str, class_name: str, job: str) -> bool:
    """False where a ticket of this job lies there already, queued or in flight."""
    data, headers = encode(Ticket(job=job))
    try:
        await bus.append(subjects.work(pool, class_name, job), data, headers)
    except StoreFull as error:
        if "per subject" not in str(error):
            raise
        return False
    return True


async def withdraw_ticket(bus: Bus, pool: str, job: str) -> None:
    """Takes the job's ticket out, whatever its class and whoever is looking at it."""
    try:
        await bus.api(
            f"STREAM.PURGE.{subjects.work_stream(pool)}", {"filter": subjects.work(pool, "*", job)}
        )
    except NotFound:
        return


async def unclaimed(bus: Bus, pool: str, class_name: str) -> int:
    """Tickets of the class that nobody has acknowledged yet."""
    info = await bus.api(f"CONSUMER.INFO.{subjects.work_stream(pool)}.{class_name}")
    return int(info["num_pending"]) + int(info["num_ack_pending"])
