"""Which streams, consumers and buckets exist, and how are they set?"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from bus import subjects
from bus.connection import Bus, JetStreamError
from bus.errors import NotFound, Unanswered
from schemas.worker import ClassRecord

log = logging.getLogger(__name__)

MAX_CONSUMERS = 20_000
"""nats-server 2.15 stops at 1,000 a stream by default; every reader of a log counts."""
SECOND = 1_000_000_000
"""Nanoseconds."""
ACK_WAIT = 5
"""Seconds after which an unclaimed ticket is offered again."""
MAX_PENDING = 100_000
"""Messages of a consumer that are given out and not acknowledged: every end of an attempt rests for
a minute before its log is sealed, and more of them in a minute would stop the archive."""
STREAM_EXISTS = 10058
CONSUMER_EXISTS = frozenset({10013, 10148})
NOT_YET = frozenset({10005, 10008, 10009})
"""No servers for that many replicas, no leader of the cluster, not asked the leader."""
CLUSTER_READY = 30.0
"""Seconds that a cluster may take to choose its leader; an election takes 4 to 9."""
AGAIN = 0.5
"""Seconds between two tries."""
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Stream:
    """One stream. Everything that bites when left to its default is set here."""

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    storage: str = "file"
    retention: str = "limits"
    discard: str = "new"
    max_per_subject: int = -1
    per_subject_new: bool = False
    max_message: int = -1
    max_age: float = 0.0
    """Seconds; 0 for ever."""
    rollup: bool = False
    frozen: bool = False
    """Takes no deletion and no purge, from nobody, and no later change of that."""
    lazy_sync: bool = False
    """Acknowledged before it is on the disk: only for what can be sent again. One replica only."""

    def config(self, replicas: int) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": self.retention,
            "storage": self.storage,
            "discard": self.discard,
            "discard_new_per_subject": self.per_subject_new,
            "max_consumers": MAX_CONSUMERS,
            "max_msgs": -1,
            "max_bytes": self.max_bytes,
            "max_msgs_per_subject": self.max_per_subject,
            "max_msg_size": self.max_message,
            "max_age": int(self.max_age * SECOND),
            "num_replicas": replicas,
            "allow_direct": True,
            "allow_rollup_hdrs": self.rollup,
            "deny_delete": self.frozen,
            "deny_purge": self.frozen,
            "duplicate_window": 120 * SECOND,
        }
        if self.lazy_sync and replicas == 1:
            config["persist_mode"] = "async"
        return config


def bucket(name: str, max_bytes: int, max_age: float = 0.0) -> Stream:
    """A key-value bucket, in the form that NATS's own tools know."""
    return Stream(
        f"KV_{name}",
        (f"$KV.{name}.>",),
        max_bytes,
        max_per_subject=1,
        max_age=max_age,
        rollup=True,
    )


def objects(name: str, max_bytes: int, lazy_sync: bool = False) -> Stream:
    """An object store, in the form that NATS's own tools know."""
    return Stream(
        f"OBJ_{name}",
        (f"$O.{name}.C.>", f"$O.{name}.M.>"),
        max_bytes,
        rollup=True,
        lazy_sync=lazy_sync,
    )


GIBIBYTE = 1 << 30
JOBS = Stream("JOBS", (subjects.JOBS_ALL,), 8 * GIBIBYTE)
LOGS = Stream("LOGS", (subjects.LOGS_ALL,), 16 * GIBIBYTE, lazy_sync=True)
METRICS = Stream(
    "METRICS", (subjects.METRICS_ALL,), GIBIBYTE, discard="old", max_age=86400, lazy_sync=True
)
WORKERS = bucket("workers", 64 * MEBIBYTE)
"""Not in memory: a server that runs alone forgets such a stream, and not only what is in it."""
CLASSES = bucket("classes", 16 * MEBIBYTE)
DRAINS = bucket("drains", 16 * MEBIBYTE)
KEYS_KEPT = 30 * 86_400.0
"""Seconds for which an idempotency key stands for its job; for ever, they would fill the bucket."""
REQUESTS = bucket("requests", GIBIBYTE, KEYS_KEPT)
IDENTITIES = bucket("identities", 64 * MEBIBYTE)
"""Invited and joined workers, by the service ``identity``; empty where nobody needs one."""
PEOPLE = bucket("people", 256 * MEBIBYTE)
"""Users, sessions, API tokens and shared links, by the service ``people``; secrets as hashes."""
SECRETS = bucket("secrets", 256 * MEBIBYTE)
"""Sealed by a key that lies elsewhere, by the service ``secrets``."""
QUOTAS = bucket("quotas", 16 * MEBIBYTE)
ENVIRONMENTS = bucket("environments", 64 * MEBIBYTE)
"""Who builds which environment, and which are shared, by the service ``environments``."""
PACKAGES = replace(bucket("packages", 128 * MEBIBYTE), discard="old")
"""What is installed in environments, by the lists' digests: about 40,000; the oldest go."""
AUDIT = Stream("AUDIT", (subjects.AUDIT_ALL,), 4 * GIBIBYTE, discard="old", frozen=True)
"""Who did what: about 20 million deeds, of which the oldest go when it is full."""
BUNDLES = objects("bundles", 256 * GIBIBYTE)
CHUNKS = objects("chunks", 256 * GIBIBYTE)
"""Pieces of bundles and data, each once within the scope of its owner (``bus/chunks.py``)."""
TREES = bucket("trees", GIBIBYTE)
"""``<scope>.<kind>.<id>``: the pieces of a bundle or of data, by ``upload`` and ``datasets``."""
DATASETS = bucket("datasets", GIBIBYTE)
"""``<owner>.<name>``: the versions of a dataset, by the service ``datasets``."""
UPLOADS = objects("uploads", 64 * GIBIBYTE, lazy_sync=True)
LOG_OBJECTS = objects("logs", 256 * GIBIBYTE)
OUTPUTS = objects("outputs", 256 * GIBIBYTE)
CHECKPOINTS = objects("checkpoints", 256 * GIBIBYTE)
"""Of each job the last whole one, by the service ``outputs``."""
METRIC_OBJECTS = objects("metrics", 64 * GIBIBYTE)
"""Points of every attempt, by the service ``metrics``."""
IMAGES = objects("images", 256 * GIBIBYTE, lazy_sync=True)
"""Layers of built images: they can be built again."""

STREAMS = (
    *(JOBS, LOGS, METRICS, AUDIT),
    *(WORKERS, CLASSES, DRAINS, REQUESTS, IDENTITIES, PEOPLE, SECRETS, QUOTAS, ENVIRONMENTS),
    *(PACKAGES,),
    *(TREES, CHUNKS, DATASETS),
    *(BUNDLES, UPLOADS, LOG_OBJECTS, OUTPUTS, CHECKPOINTS, IMAGES, METRIC_OBJECTS),
)


@dataclass(frozen=True)
class Durable:
    """A durable pull consumer that the replicas of a service share."""

    stream: str
    name: str
    filters: tuple[str, ...]
    ack_wait: float = 30.0
    """Seconds."""
    max_deliver: int = -1

    def config(self) -> dict[str, Any]:
        return {
            "durable_name": self.name,
            "name": self.name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(self.ack_wait * SECOND),
            "max_deliver": self.max_deliver,
            "filter_subjects": list(self.filters),
            "max_ack_pending": MAX_PENDING,
            "max_waiting": 4096,
        }


ENDS = tuple(
    # A refusal, too: noted after the end, it takes the place of the end's own fact.
    subjects.job("*", fact)
    for fact in ("succeeded", "failed", "cancelled", "retrying", "refused")
)
ARCHIVE = Durable("JOBS", "archive", ENDS)
METRICS_ENDS = Durable("JOBS", "metrics", ENDS)
DURABLES = (ARCHIVE, METRICS_ENDS)


def pool_stream(pool: str) -> Stream:
    """At most one ticket a job: a second is refused while the first is queued or in flight."""
    return Stream(
        subjects.work_stream(pool),
        (f"stoker.work.{pool}.>",),
        256 * MEBIBYTE,
        retention="workqueue",
        max_per_subject=1,
        per_subject_new=True,
    )


def class_durable(pool: str, class_name: str) -> Durable:
    return Durable(
        subjects.work_stream(pool), class_name, (subjects.work(pool, class_name),), ACK_WAIT
    )


async def declare(bus: Bus, replicas: int = 1) -> None:
    """Makes what is missing and leaves alone what is there. Safe to call at every start.

    Waits for a cluster that has no leader yet, or too few servers; raises ``BusError``.
    """
    deadline = time.monotonic() + CLUSTER_READY
    while True:
        try:
            await declare_all(bus, replicas)
            return
        except (Unanswered, JetStreamError) as error:
            late = time.monotonic() > deadline
            if late or (isinstance(error, JetStreamError) and error.code not in NOT_YET):
                raise
            log.info("the streams cannot be made yet: %s", error)
        await asyncio.sleep(AGAIN)


async def declared(bus: Bus) -> None:
    """Waits until somebody has made the streams that every service needs. Raises ``BusError``."""
    deadline = time.monotonic() + CLUSTER_READY
    while True:
        try:
            for stream in STREAMS:
                await bus.api(f"STREAM.INFO.{stream.name}")
            return
        except (NotFound, Unanswered, JetStreamError) as error:
            if time.monotonic() > deadline:
                raise
            log.info("the streams are not there yet: %s", error)
        await asyncio.sleep(AGAIN)


async def declare_all(bus: Bus, replicas: int) -> None:
    await asyncio.gather(*(declare_stream(bus, stream, replicas) for stream in STREAMS))
    await asyncio.gather(*(declare_durable(bus, durable) for durable in DURABLES))


async def declare_pool(bus: Bus, pool: str, replicas: int = 1) -> None:
    await declare_stream(bus, pool_stream(pool), replicas)


async def declare_class(bus: Bus, record: ClassRecord) -> None:
    """The class's consumer; its pool's stream must be there."""
    await declare_durable(bus, class_durable(record.pool, record.name))


async def declare_stream(bus: Bus, stream: Stream, replicas: int) -> None:
    try:
        await bus.api(f"STREAM.INFO.{stream.name}")
    except NotFound:
        try:
            await bus.api(f"STREAM.CREATE.{stream.name}", stream.config(replicas))
        except JetStreamError as error:
            if error.code != STREAM_EXISTS:
                raise


async def declare_durable(bus: Bus, durable: Durable) -> None:
    body = {"stream_name": durable.stream, "config": durable.config(), "action": "create"}
    try:
        await bus.api(f"CONSUMER.CREATE.{durable.stream}.{durable.name}", body)
    except JetStreamError as error:
        if error.code not in CONSUMER_EXISTS:
            raise
        await bus.api(
            f"CONSUMER.CREATE.{durable.stream}.{durable.name}", {**body, "action": "update"}
        )
