"""Who may say and hear what on the bus? One table: the server enforces it, the docs show it.

Allow-lists: what is not named here is refused by the server. A worker's own name and pool stand in
its subjects, so that no service has to believe what a message says of itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bus import layout, subjects
from bus.room import CLOSED
from bus.subjects import request

NAME, POOL = "{{name()}}", "{{tag(pool)}}"
"""The server puts the name and the pool of the user's token in their place."""
API = "$JS.API"
ANSWER_SECONDS = 60.0
"""How long a service may take to answer: longer than any asker waits."""
WORKER_PAYLOAD = 1 << 20
JOIN_PAYLOAD = 4 << 10
"""Bytes of one message."""


@dataclass(frozen=True, slots=True)
class Grants:
    """Subjects; what is denied is so although it is allowed."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """What every user of a role may do."""

    name: str
    says: tuple[str, ...] = ()
    """Subjects it may publish on, beside what follows from the next three."""
    hears: tuple[str, ...] = ()
    """Subjects it may subscribe to, beside its inbox."""
    deaf: tuple[str, ...] = ()
    """What it does not hear although it may."""
    reads: tuple[str, ...] = ()
    """Streams: by consumers of its own, by subject, by sequence."""
    keeps: tuple[str, ...] = ()
    """Buckets of keys that it reads and writes."""
    stores: tuple[str, ...] = ()
    """Buckets of objects that it reads, writes and deletes."""
    never: tuple[str, ...] = ()
    """What is refused although it is allowed."""
    responds: float = 0.0
    """Seconds within which it may answer a message, once; 0: it answers nobody."""
    subscriptions: int = -1
    """At one time; -1 for any number."""
    payload: int = -1
    """Bytes of a message; -1 for what the server takes."""
    bearer: bool = False
    """Whether the token alone is enough, without its key."""

    @property
    def user(self) -> str:
        """What its users are called: a machine's own name, or the role's."""
        return NAME if self in FLEET_ROLES else self.name

    @property
    def publish(self) -> Grants:
        streams = [*self.reads, *(f"KV_{name}" for name in self.keeps)]
        streams += [f"OBJ_{name}" for name in self.stores]
        return Grants(
            (
                *self.says,
                *(f"{API}.{verb.format(stream)}" for stream in streams for verb in READ),
                *(f"$KV.{name}.>" for name in self.keeps),
                *(subject.format(name) for name in self.stores for subject in STORE),
            ),
            self.never,
        )

    @property
    def subscribe(self) -> Grants:
        return Grants((f"_INBOX_{self.user}.>", *self.hears), self.deaf)


READ = (
    "STREAM.MSG.GET.{}",
    "DIRECT.GET.{}",
    "CONSUMER.CREATE.{}.*",
    "CONSUMER.CREATE.{}.*.>",
    "CONSUMER.MSG.NEXT.{}.*",
    "CONSUMER.DELETE.{}.*",
)
STORE = ("$O.{}.C.*", "$O.{}.M.*", f"{API}.STREAM.PURGE.OBJ_{{}}")


@dataclass(frozen=True, slots=True)
class Crossing:
    """What passes between the workers' account and the services'."""

    name: str
    subject: str
    kind: str = "service"
    """``service``: asked by workers; ``stream``: heard by them."""
    many: bool = False
    """Whether one request may get many answers."""


BORDER = (
    Crossing("tickets", f"{API}.CONSUMER.MSG.NEXT.*.*", many=True),
    Crossing("ticket-acks", "$JS.ACK.*.*.*.*.*.*.*"),
    Crossing("logs", subjects.log("*")),
    Crossing("metrics", subjects.metric("*", "*", "*")),
    Crossing("beats", subjects.BEATS_ALL),
    Crossing("claims", subjects.claim("*", "*")),
    Crossing("reports", request("scheduler", "report", "*")),
    Crossing("positions", request("archive", "position", "*")),
    Crossing("bundles", request("upload", "*", "*")),
    Crossing("secrets", request("secrets", "open", "*")),
    Crossing("outputs", request("outputs", "*", "*")),
    Crossing("environments", request("environments", "*", "*")),
    Crossing("data", request("datasets", "*", "*")),
    Crossing("enrolment", request("identity", "enrol", "*")),
    Crossing("renewal", request("identity", "renew", "*")),
    Crossing("commands", subjects.command("*"), kind="stream"),
)

STREAM_NAMES = tuple(stream.name for stream in layout.STREAMS)
KNOWN = f"{API}.STREAM.INFO.*"
"""Whether a stream is there, and how full."""


def durables(*but: str) -> tuple[str, ...]:
    """The consumers that replicas share: nobody but their service changes or drains them."""
    return tuple(
        f"{API}.CONSUMER.{verb}.{one.stream}.{one.name}{rest}"
        for one in layout.DURABLES
        if one.name not in but
        for verb, rest in (("CREATE", ""), ("CREATE", ".>"), ("MSG.NEXT", ""), ("DELETE", ""))
    )


POOLS = ("STREAM.CREATE.{}", "STREAM.PURGE.{}", "CONSUMER.CREATE.{}.>", "CONSUMER.DELETE.{}.*")
"""What is done to the streams of tickets. Their names are not known before: so any stream is named,
and those that have other users are taken out again."""


def pools(verbs: Iterable[str] = POOLS) -> tuple[str, ...]:
    return (*(f"{API}.{verb.format('*')}" for verb in verbs), f"{API}.CONSUMER.INFO.*.*")


def but_streams(mine: Iterable[str]) -> tuple[str, ...]:
    others = [name for name in STREAM_NAMES if name not in mine]
    return tuple(f"{API}.{verb.format(name)}" for name in others for verb in POOLS)


def answers(name: str, *more: str) -> tuple[str, ...]:
    """The requests of one service."""
    return (request(name, "*"), request(name, "*", "*"), *more)


NOTED = (
    subjects.AUDIT_ALL,
    *(f"{API}.STREAM.{verb}.AUDIT" for verb in ("DELETE", "UPDATE", "PURGE", "RESTORE")),
    f"{API}.STREAM.MSG.DELETE.AUDIT",
)
"""By which the audit could be changed or added to in the name of a service."""

SHOWN = (request("people", "*"), "_INBOX_ui.>")
"""Where passwords, cookies and tokens pass by as they are."""

MAIN_ROLES = (
    Role(
        "upload",
        says=(
            KNOWN,
            subjects.job("*", "submitted"),
            subjects.audit("upload"),
            request("catalog", "usage"),
            request("secrets", "list"),
            "$O.chunks.C.*.*.*",
        ),
        hears=answers("upload"),
        reads=("JOBS", "KV_quotas"),
        keeps=("requests", "trees"),
        stores=("uploads", "bundles", "chunks"),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "scheduler",
        says=(
            KNOWN,
            subjects.job("*"),
            f"{API}.STREAM.MSG.DELETE.JOBS",
            subjects.work("*"),
            subjects.command("*"),
            subjects.audit("scheduler"),
            "$KV.requests.>",
            *pools(),
        ),
        hears=answers("scheduler", subjects.BEATS_ALL, subjects.claim("*", "*")),
        reads=("JOBS",),
        keeps=("workers", "classes", "drains", "quotas"),
        never=(
            *but_streams(("JOBS", "KV_workers", "KV_classes", "KV_drains", "KV_quotas")),
            *(f"{API}.{verb}.JOBS" for verb in ("STREAM.PURGE", "STREAM.CREATE")),
            *durables(),
        ),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "archive",
        says=(KNOWN, "$JS.ACK.JOBS.archive.>", f"{API}.STREAM.PURGE.*"),
        hears=answers("archive"),
        reads=("JOBS", "LOGS"),
        stores=("logs",),
        never=durables("archive"),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "catalog",
        says=(KNOWN,),
        hears=answers("catalog"),
        reads=("JOBS",),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "identity",
        says=(
            KNOWN,
            subjects.audit("identity"),
            *(f"{API}.STREAM.CREATE.{name}" for name in STREAM_NAMES),
            *(f"{API}.CONSUMER.CREATE.{one.stream}.{one.name}.>" for one in layout.DURABLES),
            *(f"{API}.CONSUMER.CREATE.{one.stream}.{one.name}" for one in layout.DURABLES),
        ),
        hears=answers("identity"),
        keeps=("identities",),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "people",
        says=(KNOWN, subjects.audit("people"), f"{API}.STREAM.MSG.DELETE.KV_people"),
        hears=answers("people"),
        reads=("JOBS",),
        keeps=("people",),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "secrets",
        says=(KNOWN, subjects.audit("secrets")),
        hears=answers("secrets"),
        reads=("JOBS", "KV_identities"),
        keeps=("secrets",),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "outputs",
        says=(
            KNOWN,
            "$O.outputs.C.*.*",
            "$O.outputs.M.*.*",
            "$O.checkpoints.C.*.*",
            "$O.checkpoints.M.*.*",
        ),
        hears=answers("outputs"),
        reads=("JOBS",),
        stores=("outputs", "checkpoints"),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "metrics",
        says=(
            KNOWN,
            "$O.metrics.C.*.*.*",
            "$O.metrics.M.*.*",
            "$JS.ACK.JOBS.metrics.>",
            f"{API}.STREAM.PURGE.METRICS",
        ),
        hears=answers("metrics"),
        reads=("JOBS", "LOGS", "METRICS", "OBJ_logs", "OBJ_outputs"),
        stores=("metrics",),
        never=durables("metrics"),
    ),
    Role(
        "environments",
        says=(
            KNOWN,
            "$O.images.C.*.*.*",
            subjects.command("*", "share"),
            f"{API}.STREAM.MSG.DELETE.KV_environments",
        ),
        hears=answers("environments"),
        reads=("JOBS",),
        keeps=("environments", "packages"),
        stores=("images",),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "datasets",
        says=(KNOWN, subjects.audit("datasets")),
        hears=answers("datasets"),
        reads=("JOBS", "OBJ_chunks"),
        keeps=("datasets", "trees"),
        never=durables(),
        responds=ANSWER_SECONDS,
    ),
    Role(
        "ui",
        says=(
            KNOWN,
            request("people", "*"),
            *(request("secrets", verb) for verb in ("key", "set", "list", "remove", "forget")),
            *(request("scheduler", verb) for verb in ("quotas", "set-quota")),
            *(request("catalog", verb) for verb in ("usage",)),
            *(request("upload", verb) for verb in ("admit", "submit")),
            *(request("scheduler", verb) for verb in ("cancel", "drain", "explain")),
            request("archive", "position", "*"),
            request("catalog", "list"),
            request("metrics", "watch"),
            *(
                request("datasets", verb)
                for verb in ("list", "find", "resolve", "commit", "remove")
            ),
            "$O.chunks.C.*.*.*",
        ),
        reads=(
            *("JOBS", "LOGS", "AUDIT", "KV_workers", "KV_trees", "KV_packages", "OBJ_chunks"),
            *("OBJ_logs", "OBJ_bundles", "OBJ_outputs", "OBJ_checkpoints", "OBJ_metrics"),
        ),
        stores=("uploads",),
        never=durables(),
    ),
    Role("guard", says=(KNOWN, *(f"{API}.STREAM.UPDATE.{one.name}" for one in CLOSED))),
    Role(
        "debug",
        says=(
            f"{API}.INFO",
            f"{API}.STREAM.NAMES",
            f"{API}.STREAM.LIST",
            KNOWN,
            f"{API}.CONSUMER.NAMES.*",
            f"{API}.CONSUMER.LIST.*",
            f"{API}.CONSUMER.INFO.*.*",
            *(f"{API}.DIRECT.GET.{name}.>" for name in STREAM_NAMES),
            *(f"{API}.CONSUMER.CREATE.{name}" for name in STREAM_NAMES),
        ),
        hears=(">",),
        deaf=SHOWN,
        reads=STREAM_NAMES,
        never=durables(),
    ),
    Role("admin", says=(">",), hears=(">",), never=NOTED, responds=ANSWER_SECONDS),
)
"""Of the services' account."""

FLEET_ROLES = (
    Role(
        "worker",
        says=(
            subjects.log("*", "*", "*", NAME),
            subjects.metric("*", "*", NAME),
            subjects.beat(NAME, POOL),
            subjects.claim(NAME, POOL),
            request("scheduler", "report", NAME),
            request("archive", "position", NAME),
            request("upload", "*", NAME),
            request("secrets", "open", NAME),
            request("outputs", "*", NAME),
            request("environments", "*", NAME),
            request("datasets", "*", NAME),
            request("identity", "renew", NAME),
            f"{API}.CONSUMER.MSG.NEXT.{subjects.work_stream(POOL)}.*",
            f"$JS.ACK.{subjects.work_stream(POOL)}.*.*.*.*.*.*",
        ),
        hears=(subjects.command(NAME),),
        subscriptions=200,
        payload=WORKER_PAYLOAD,
    ),
    Role(
        "join",
        says=(request("identity", "enrol", NAME),),
        subscriptions=3,
        payload=JOIN_PAYLOAD,
        bearer=True,
    ),
)
"""Of the workers' account."""

SYSTEM_ROLE = Role("resolver", says=("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"))
"""Of the server's own account: with it, ``identity`` tells the servers who is revoked."""

ROLES = {role.name: role for role in (*MAIN_ROLES, *FLEET_ROLES, SYSTEM_ROLE)}
