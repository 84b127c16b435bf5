"""How is an object described on the wire? As NATS's own object store does it."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any

from bus.errors import Corrupt

CHUNK = 512 * 1024
"""Bytes of one message."""


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of a stored object."""

    bucket: str
    name: str
    id: str
    """Its chunks lie on ``$O.<bucket>.C.<id>``."""
    size: int
    chunks: int
    digest: str
    """sha256, as hexadecimal digits."""
    modified: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)
    revision: int = 0
    """Sequence of its description: what a put that replaces it can expect."""

    @property
    def chunk_subject(self) -> str:
        return f"$O.{self.bucket}.C.{self.id}"


def meta_subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def meta_json(info: ObjectInfo, deleted: bool = False) -> bytes:
    digest = base64.urlsafe_b64encode(bytes.fromhex(info.digest)).decode()
    body: dict[str, Any] = {
        "name": info.name,
        "bucket": info.bucket,
        "nuid": info.id,
        "size": 0 if deleted else info.size,
        "chunks": 0 if deleted else info.chunks,
        "digest": f"SHA-256={digest}",
        "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.modified)),
        "metadata": info.metadata,
        "options": {"max_chunk_size": CHUNK},
    }
    if deleted:
        body["deleted"] = True
    return json.dumps(body).encode()


def read_info(
    bucket: str, data: bytes, modified: float = 0.0, revision: int = 0
) -> ObjectInfo | None:
    try:
        body = json.loads(data)
        if body.get("deleted"):
            return None
        digest = base64.urlsafe_b64decode(body["digest"].removeprefix("SHA-256=")).hex()
        return ObjectInfo(
            bucket, body["name"], body["nuid"], body["size"], body["chunks"], digest, modified,
            body.get("metadata") or {},
            revision,
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise Corrupt(f"an object's description in {bucket} cannot be read: {error}") from error
