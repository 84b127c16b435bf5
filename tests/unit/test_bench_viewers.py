"""Do the benchmark's viewers read frames and judge lines rightly?"""

from __future__ import annotations

from benchmarks.logs.fanout import batch
from benchmarks.logs.viewers import BINARY, TEXT, Tally, Viewer


def frame(kind: int, body: bytes) -> bytes:
    if len(body) < 126:
        return bytes((0x80 | kind, len(body))) + body
    if len(body) < 1 << 16:
        return bytes((0x80 | kind, 126)) + len(body).to_bytes(2, "big") + body
    return bytes((0x80 | kind, 127)) + len(body).to_bytes(8, "big") + body


async def test_frames_are_found_wherever_the_bytes_are_cut() -> None:
    bodies = [b"x" * size for size in (0, 1, 125, 126, 65535, 65536)]
    data = b"".join(frame(BINARY, body) for body in bodies) + frame(TEXT, b"end")
    for step in (1, 7, 4096, len(data)):
        viewer = Viewer("/")
        found = []
        for at in range(0, len(data), step):
            viewer._data += data[at : at + step]
            found += viewer._frames()
        assert found == [*((BINARY, body) for body in bodies), (TEXT, b"end")]


def test_lines_that_were_left_out_are_skipped_and_those_of_before_do_not_count() -> None:
    tally = Tally()
    tally.add(batch(0, 10), now=1e10, since=5e9)
    assert (tally.lines, tally.ages) == (0, [])
    for first in (0, 10, 25):
        tally.add(batch(first, 10).removesuffix(b"\n"), now=1e10, since=0)
    assert (tally.lines, tally.skipped, len(tally.ages)) == (30, 5, 3)
