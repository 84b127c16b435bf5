"""How small does the log of a real training get? That of the example that trains on digits."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from benchmarks.stack import ROOT, running_stack
from benchmarks.table import Figure
from bus.codec import encode
from bus.connection import Bus
from bus.link import BusConfig
from schemas.log import LogIndex
from services.archive.sealing import Rank, Sealer

EPOCHS = 40
SHARE = 1 / 8
SECONDS = 240.0
"""For its packages and its training."""
SPEC: dict[str, Any] = {
    "arguments": ["--epochs", str(EPOCHS)],
    "resources": {"cpus": 1, "memory": "2g"},
}


async def figures() -> list[Figure]:
    async with running_stack("process") as stack:
        job = await stack.upload(bundle(), SPEC)
        end = await stack.ended(job["id"], SECONDS)
        if end["state"] != "succeeded":
            raise RuntimeError(f"the training ended as {end['state']}: {end['detail']}")
        attempt = end["attempts"][-1]
        printed = int(attempt["end"]["log_ends"]["0"])
        async with Bus.connect(
            BusConfig((stack.nats,), "bench", credentials=str(stack.admin))
        ) as bus:
            rank = Rank(job["id"], attempt["number"], 0, attempt["worker"])
            index = await Sealer(bus).seal(rank, printed)
    size = stored(index)
    return [
        Figure(
            "sealed log of a real training, all that is stored of it", 100 * size / printed,
            "% of its bytes", 100 * SHARE,
            note=f"examples/digits, {EPOCHS} epochs with a bar: {printed / 1024:.0f} KiB printed, "
            f"{size / 1024:.1f} KiB stored",
        )
    ]  # fmt: skip


def bundle() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("main.py", "requirements.txt"):
            archive.write(ROOT / "examples" / "digits" / name, name)
    return out.getvalue()


def stored(index: LogIndex) -> int:
    """Bytes of the index, which holds short parts itself, and of all that it names."""
    named = (*index.blocks, *index.rows, *((index.screen,) if index.screen else ()))
    return len(encode(index)[0]) + sum(int(one.size) for one in named if one.object)
