"""``stoker decode``: what does a message of the bus say? Standard input to JSON.

The NATS CLI starts this once per message (``nats sub --translate 'stoker decode'``), so nothing
is imported that starts slowly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from bus.plain import decode_any


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 2 with one sentence on standard error."""
    if len(arguments) > 1:
        return fail("stoker decode takes at most one TYPE, such as JobFact")
    try:
        value = decode_any(sys.stdin.buffer.read(), arguments[0] if arguments else None)
    except ValueError as error:
        return fail(str(error))
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    sys.stdout.buffer.write(text.removesuffix("\n").encode(errors="replace") + b"\n")
    sys.stdout.flush()
    return 0


def fail(sentence: str) -> int:
    sys.stderr.write(f"stoker decode: {sentence}\n")
    return 2
