"""What the contract's programs do, once as Python and once as wishes to the dummy runtime."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Program:
    code: str
    wishes: dict[str, str] = field(default_factory=dict)


def dummy(**wishes: str | int | float) -> dict[str, str]:
    return {f"STOKER_DUMMY_{name}": str(value) for name, value in wishes.items()}


IGNORE_TERM = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""

SLEEP = Program("import time\nprint('ready')\ntime.sleep(60)", dummy(OUT="ready\n", SLEEP=60))
STUBBORN = Program(IGNORE_TERM, dummy(OUT="ready\n", SLEEP=60, IGNORE_TERM=1))
LINES = Program(
    "import sys\nsys.stdout.writelines(f'line {i}\\n' for i in range(100_000))",
    dummy(LINES=100_000),
)
FLOOD = Program(
    "import sys\nsys.stdout.writelines(f'line {i} ' + 'x' * 90 + '\\n' for i in range(100_000))\n"
    "sys.stdout.flush()\nraise SystemExit('the last word')",
    dummy(LINES=100_000, LINE_BYTES=100, EXIT=1),
)
HUNGRY = Program(
    "held = []\nwhile True:\n    held.append(bytearray(b'x') * (4 << 20))",
    dummy(OOM=1),
)
