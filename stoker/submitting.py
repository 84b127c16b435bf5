"""How does a client submit: a folder, a .zip, or what the server has already?"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stoker.answers import Job, read_job
from stoker.cut_memory import Memory
from stoker.cutting import Cut, cut_files
from stoker.packing import plan, without_top
from stoker.sending import Sender, Tell, send_parts
from stoker.source import source_of
from stoker.transport import CHECKED_A_SECOND, Progress, Transport, Upload

IN_PARTS = 16 << 20
"""Bytes from which on a .zip is sent in parts, so that a cut costs one of them."""


class Submitting:
    """The part of ``Client`` that sends."""

    transport: Transport

    def submit(
        self,
        path: str | Path,
        *,
        key: str | None = None,
        progress: Progress | None = None,
        **spec: Any,
    ) -> Job:
        """Sends a folder or a .zip and answers when the job is stored safely.

        ``spec`` takes the fields of the job: name, entry, arguments, environment, pool, priority,
        resources, timeout, grace, retries, network, python, image. The same ``key`` gets the same
        job, however often it is sent. Of a folder only those pieces are sent that the server does
        not have; ``progress`` is told how many bytes were.
        """
        source = Path(path)
        key = key or secrets.token_hex(16)
        if source.is_file():
            return self.send(source, spec, key, progress)
        made = plan(source)
        spec.setdefault("name", source.resolve().name)
        if commit := source_of(source):
            spec.setdefault("source", commit)
        memory = Memory.of(source)
        cut = cut_files(without_top(made.files)[0], memory)
        memory.save()
        told = progress or (lambda _: None)
        return self.send_cut(cut, spec, key, lambda sent, total: told(sent))

    def send_cut(
        self,
        cut: Cut,
        spec: Mapping[str, Any],
        key: str,
        tell: Tell | None = None,
        like: str | None = None,
    ) -> Job:
        """Sends the pieces that the server has not, and submits."""
        sender = Sender(self.transport, cut, tell)
        return read_job(sender.submit(submissions(like), {"spec": dict(spec)}, key))

    def send(
        self,
        zipped: Path,
        spec: Mapping[str, Any],
        key: str,
        progress: Progress | None = None,
        like: str | None = None,
    ) -> Job:
        """Sends a .zip as it is. A secret that ``spec`` shows as masked is the job ``like``'s."""
        told = progress or (lambda _: None)
        if zipped.stat().st_size < IN_PARTS:
            upload = Upload(spec, zipped, told)
            return read_job(self.transport.upload(submissions(like), upload, key))
        value = {"spec": dict(spec), **send_parts(self.transport, zipped, told)}
        patience = zipped.stat().st_size / CHECKED_A_SECOND
        return read_job(self.transport.post(submissions(like), value, key, patience))

    def submit_stored(
        self, bundle: str, *, key: str | None = None, like: str | None = None, **spec: Any
    ) -> Job:
        """Submits a bundle that the server has already, by its digest; ``like`` as in ``send``."""
        value = {"spec": spec, "bundle": bundle}
        key = key or secrets.token_hex(16)
        return read_job(self.transport.post(submissions(like), value, key))


def submissions(like: str | None) -> str:
    return "/api/v1/jobs" + (f"?like={quote(like, safe='')}" if like else "")
