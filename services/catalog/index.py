"""How are jobs found? An index in SQLite; every call is blocking and meant for one thread."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from schemas.job import HELD, Record, State
from schemas.quota import GetUsage, Usage
from schemas.requests import JobList, JobSummary, ListJobs

log = logging.getLogger(__name__)

VERSION = 2
SCHEMA = """
create table if not exists meta (name text primary key, value integer not null);
create table if not exists jobs (
    id text primary key, sequence integer not null, state text not null, pool text not null,
    owner text not null, words text not null, summary text not null
) without rowid;
create index if not exists by_state on jobs (state, id);
create index if not exists by_owner on jobs (owner, state);
create table if not exists bundles (
    owner text not null, digest text not null, primary key (owner, digest)
) without rowid;
create table if not exists stored (owner text primary key, bytes integer not null) without rowid;
"""
TABLES = ("jobs", "meta", "bundles", "stored")
MOST = 500
"""Rows of one answer."""


class Index:
    """One row a job: the newest summary, and what a search looks at."""

    def __init__(self, path: Path | None) -> None:
        """In memory without ``path``. A file that is broken or of another version is made anew."""
        self._db = connect(path)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")
        version = self._db.execute("pragma user_version").fetchone()[0]
        if version not in (0, VERSION):
            self._db.executescript("".join(f"drop table if exists {one};" for one in TABLES))
        self._db.executescript(SCHEMA)
        self._db.execute(f"pragma user_version = {VERSION}")
        self._db.commit()

    def close(self) -> None:
        self._db.close()

    def place(self, stream: int) -> int:
        """The last sequence that was taken in from that stream (told apart by its creation)."""
        rows = dict(self._db.execute("select name, value from meta").fetchall())
        if rows.get("stream") != stream:
            with self._db:
                for table in TABLES:
                    self._db.execute(f"delete from {table}")
                self._db.execute("insert or replace into meta values ('stream', ?)", (stream,))
                self._db.execute("insert or replace into meta values ('sequence', 0)")
            return 0
        return int(rows.get("sequence", 0))

    def take(self, changes: Iterable[tuple[int, Record]]) -> None:
        """Takes changes in, in one transaction; older ones than what is known change nothing."""
        last = 0
        with self._db:
            for sequence, record in changes:
                last = max(last, sequence)
                self._db.execute(
                    "insert into jobs values (?, ?, ?, ?, ?, ?, ?) on conflict (id) do update set"
                    " sequence = excluded.sequence, state = excluded.state,"
                    " words = excluded.words, summary = excluded.summary"
                    " where excluded.sequence > jobs.sequence",
                    row(sequence, record),
                )
                self._count_bundle(record)
            self._db.execute("insert or replace into meta values ('sequence', ?)", (last,))

    def _count_bundle(self, record: Record) -> None:
        """Once for each owner, however many of their jobs have it."""
        new = self._db.execute(
            "insert or ignore into bundles values (?, ?)", (record.owner, record.bundle)
        )
        if new.rowcount == 1:
            self._db.execute(
                "insert into stored values (?, ?) on conflict (owner) do update set"
                " bytes = bytes + excluded.bytes",
                (record.owner, record.bundle_size),
            )

    def usage(self, asked: GetUsage) -> Usage:
        """The work grows with the user's live jobs, not with those that ended."""
        live = sorted(state.value for state in (*HELD, State.WAITING, State.QUEUED))
        counts = dict(
            self._db.execute(
                "select state, count(*) from jobs where owner = ?"
                f" and state in ({', '.join('?' * len(live))}) group by state",
                (asked.user, *live),
            ).fetchall()
        )
        handed_out = counts.get(State.QUEUED.value, 0)
        stored = self._db.execute("select bytes from stored where owner = ?", (asked.user,))
        own = self._db.execute(
            "select 1 from bundles where owner = ? and digest = ?", (asked.user, asked.bundle)
        )
        return Usage(
            running=handed_out + sum(counts.get(state.value, 0) for state in HELD),
            queued=handed_out + counts.get(State.WAITING.value, 0),
            storage=(stored.fetchone() or (0,))[0],
            has_bundle=own.fetchone() is not None,
        )

    def list(self, asked: ListJobs) -> JobList:
        """Newest first; counts are over all that match, whatever their state."""
        where, values = conditions(asked)
        counted = self._db.execute(
            f"select state, count(*) from jobs where {where} group by state", values
        ).fetchall()
        if asked.state:
            where += f" and state in ({', '.join('?' * len(asked.state))})"
            values = [*values, *(state.value for state in asked.state)]
        if asked.before:
            where += " and id < ?"
            values = [*values, asked.before]
        limit = max(1, min(asked.limit, MOST))
        rows = self._db.execute(
            f"select summary from jobs where {where} order by id desc limit ?",
            [*values, limit + 1],
        ).fetchall()
        jobs = tuple(JobSummary.model_validate_json(summary) for (summary,) in rows[:limit])
        return JobList(jobs=jobs, counts=dict(counted), more=len(rows) > limit)


def connect(path: Path | None) -> sqlite3.Connection:
    """Without syncs a machine that dies may leave a broken file: nothing in it is worth keeping."""
    if path is not None and not sound(path):
        log.warning("%s is broken and is made anew", path)
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    return sqlite3.connect(path or ":memory:", check_same_thread=False)


def sound(path: Path) -> bool:
    """Raises what is not the file's fault: a folder that is not there, say."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            return bool(db.execute("pragma quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return False
            raise


def conditions(asked: ListJobs) -> tuple[str, list[str]]:
    where = "1"
    values: list[str] = []
    if asked.pool:
        where, values = where + " and pool = ?", [*values, asked.pool]
    if asked.owner:
        where, values = where + " and owner = ?", [*values, asked.owner]
    if asked.owners is not None:
        # One value, however many they are: SQLite bounds the number of values.
        where += " and owner in (select value from json_each(?))"
        values = [*values, json.dumps(asked.owners)]
    for word in asked.text.lower().split()[:8]:
        where += " and instr(words, ?) > 0"
        values = [*values, word]
    return where, values


def row(sequence: int, record: Record) -> tuple[str | int, ...]:
    short = JobSummary.of(record)
    words = " ".join(
        (
            record.id,
            record.name,
            record.owner,
            record.detail,
            short.reason or "",
            short.worker or "",
        )
    ).lower()
    return (
        record.id,
        sequence,
        record.state.value,
        record.spec.pool,
        record.owner,
        words,
        json.dumps(short.model_dump(mode="json")),
    )
