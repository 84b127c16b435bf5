"""Which lines of a program say why it failed, its tracebacks left out?"""

from __future__ import annotations

from agent.quote_rules import EVERYWHERE, FULL, PROGRAM, Extent, Pick, Rule, r

PYTHON = (
    Rule(
        "fatal-python-error",
        r(r"^Fatal Python error: "),
        62,
        PROGRAM,
        Extent.REST,
        most=12,
        reach=200,
        head=10,
    ),
    Rule(
        "syntax-error",
        r(r"^  File \".*\", line \d+$"),
        58,
        extent=Extent.UNTIL,
        most=6,
        until=r(r"^(?:SyntaxError|IndentationError|TabError): "),
    ),
    Rule(
        "rich-traceback",
        r(r"^╭─+ Traceback \(most recent call last\) ─+╮"),
        60,
        PROGRAM,
        Extent.UNTIL,
        most=400,
        until=r(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: |$)"),
    ),
    Rule(
        "usage",
        r(r"^usage: "),
        58,
        extent=Extent.UNTIL,
        most=60,
        until=r(r"^\S.*: error: "),
        reach=3,
        head=2,
    ),
    Rule(
        "pytest",
        r(r"^=+ short test summary info =+$"),
        61,
        PROGRAM,
        Extent.UNTIL,
        most=400,
        until=r(r"^=+ .* =+$"),
    ),
    Rule(
        "hydra",
        r(r"^Error executing job with overrides: "),
        46,
        PROGRAM,
        most=5,
        also=r(r"^Error |^\w+: |^$"),
        reach=6,
    ),
)
CUDA = (
    Rule(
        "device-side-assert",
        r(r"block: \[\d+,\d+,\d+\].* Assertion .* failed"),
        66,
        PROGRAM,
        pick=Pick.FIRST,
        reach=4000,
    ),
    Rule("cuda-out-of-memory", r(r"CUDA(?: error:)? out of memory"), 45, PROGRAM, reach=8),
    Rule(
        "dataloader-worker",
        r(r"Unexpected bus error encountered in worker"),
        57,
        PROGRAM,
        reach=60,
    ),
    Rule(
        "nccl-timeout",
        r(r"Watchdog caught collective operation timeout"),
        56,
        PROGRAM,
        pick=Pick.FIRST,
        reach=4000,
    ),
    Rule("nccl", r(r"NCCL WARN "), 42, PROGRAM, unless=r(r"NCCL WARN (?:NET/|Missing)"), reach=60),
    Rule(
        "launcher",
        r(r"^Root Cause \(first observed failure\):"),
        17,
        PROGRAM,
        Extent.UNTIL,
        most=10,
        until=r(r"^\s*traceback\s*:"),
        reach=6,
    ),
)
NATIVE = (
    Rule("killed", r(r"^(?:\S+: line \d+:\s+\d+ |\d+ )?Killed\b(?:\s\s|$)"), 55, reach=10),
    Rule(
        "native-crash",
        r(
            r"(?:^|\d |: )(?:Segmentation fault|Bus error|Illegal instruction|Aborted"
            r"|Floating point exception)(?: +\(core dumped\))?(?:\s\s|$)"
        ),
        54,
        reach=10,
    ),
    Rule(
        "terminate",
        r(r"^terminate called (?:after|without)"),
        53,
        PROGRAM,
        most=3,
        also=r(r"^  what\(\): "),
        reach=200,
    ),
    Rule(
        "heap",
        r(
            r"^(?:free|malloc|realloc|munmap_chunk)\(\): |^corrupted (?:size|double)|^double free"
            r"|^\*\*\* (?:stack smashing|buffer overflow)"
        ),
        53,
        PROGRAM,
        reach=10,
    ),
    Rule("shared-library", r(r"error while loading shared libraries: "), 53),
)
COMMANDS = (
    Rule(
        "command",
        r(
            r"^(?:/\S+|\S*sh): .*(?:not found|Permission denied|No such file or directory"
            r"|Is a directory|unbound variable|[Ee]xec format error|cannot execute.*)$"
        ),
        48,
        reach=6,
    ),
    Rule(
        "git",
        r(r"^fatal: "),
        48,
        most=4,
        also=r(r"^(?:fatal|error): |^Please make sure|^and the rep"),
        reach=6,
    ),
    Rule(
        "disk-full",
        r(r"No space left on device|Disk quota exceeded"),
        47,
        EVERYWHERE,
        reach=60,
        sure=FULL,
    ),
    Rule(
        "logged-error",
        r(r"^(?:ERROR|CRITICAL|FATAL)\b|[\[| ](?:ERROR|CRITICAL|FATAL)[\]|: ]"),
        30,
        PROGRAM,
        reach=8,
    ),
    Rule("error", r(r"^(?:\S+: )?(?:[Ee]rror|[Ff]atal(?: [Ee]rror)?): "), 29, reach=5),
)
PROGRAM_RULES = PYTHON + CUDA + NATIVE + COMMANDS
