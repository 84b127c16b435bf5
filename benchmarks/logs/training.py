"""What does a long training print? Text for logs that nobody waits to see trained."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

MESSAGE = 512 * 1024
"""Bytes of one message of a log, as an agent cuts a long one."""
SEED = 4
UNIQUE = 64 << 20
"""Bytes before the text begins anew: far more than a compressor looks back."""


def lines(seed: int = SEED) -> Iterator[bytes]:
    """One step a line: a falling loss, a throughput, a rate, as the usual trainers print them."""
    chance = random.Random(seed)
    loss, seconds = 11.0, 0.0
    for step in itertools.count():
        loss = max(1.7, loss * (1 - 2e-6)) + chance.gauss(0, 0.002)
        spent = 183 + chance.gauss(0, 3)
        seconds += spent / 1000
        clock = f"{int(seconds) // 3600:02d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
        yield (
            f"{clock} step {step:7d}/600000 | loss {loss:.6f} ({chance.gauss(0, 1):+.2f}z) | "
            f"norm {abs(chance.gauss(0.3, 0.05)):.4f} | lr {6e-4 * (1 - step / 6e7):.3e} | "
            f"{spent:.2f} ms | {524288 / spent * 1000:.0f} tok/s\n"
        ).encode()


def messages(size: int) -> Iterator[bytes]:
    """About ``size`` bytes of it, cut without regard to lines."""
    unique = b"".join(itertools.islice(lines(), UNIQUE // 110))
    places = itertools.cycle(range(0, len(unique) - MESSAGE, MESSAGE))
    for place in itertools.islice(places, size // MESSAGE):
        yield unique[place : place + MESSAGE]
