"""Which lines of a build say why it failed?"""

from __future__ import annotations

from dataclasses import replace

from agent.quote_rules import BUILD, PROGRAM, STEP, Extent, Pick, Rule, r

LESS = 20
"""What a program installs itself goes behind what it says of itself."""

INSTALLERS = (
    Rule(
        "network",
        r(r"^WARNING: Retrying \(Retry\(total=0"),
        74,
        BUILD,
        most=4,
        also=r(r"^ERROR: "),
        reach=10,
    ),
    Rule(
        "pip-build",
        r(r"^\s*\S .* did not run successfully"),
        70,
        BUILD,
        Extent.UNTIL,
        most=4000,
        until=r(r"\[end of output\]"),
        reach=60,
        head=2,
    ),
    Rule(
        "pip-conflict",
        r(r"^ERROR: Cannot install .* conflicting dependencies"),
        71,
        BUILD,
        most=12,
        also=r(r"^$|^The conflict is caused by|^    \S|^        \S"),
        reach=60,
    ),
    Rule(
        "pip-hash",
        r(r"^ERROR: (?:THESE PACKAGES DO NOT MATCH|Hashes are required|In --require-hashes)"),
        71,
        BUILD,
        most=6,
        also=r(r"^\s+\S"),
        reach=60,
    ),
    Rule(
        "pip-no-version",
        r(r"^ERROR: Could not find a version that satisfies"),
        69,
        BUILD,
        most=3,
        also=r(r"^ERROR: No matching distribution"),
        reach=60,
    ),
    Rule(
        "uv",
        r(r"^\s*\S (?:No solution found|Failed to (?:build|download|resolve|fetch|prepare))"),
        68,
        BUILD,
        most=2000,
        also=r(r"^\s+\S|^$"),
        reach=20,
        head=2,
    ),
    Rule(
        "conda",
        r(
            r"^Encountered problems? while solving"
            r"|(?:UnsatisfiableError|PackagesNotFoundError|ResolvePackageNotFound):"
        ),
        67,
        BUILD,
        most=12,
        also=r(r"^\s*[-└├│] |^$|^  "),
        reach=20,
    ),
    Rule(
        "network",
        r(
            r"^[WE]: (?:Failed to fetch|The repository) .*"
            r"(?:Temporary failure|Could not (?:resolve|connect|handshake))"
        ),
        72,
        BUILD,
        most=2,
        also=r(r"^[WE]: Failed to fetch"),
        pick=Pick.FIRST,
    ),
    Rule("apt", r(r"^E: \S"), 65, BUILD, most=6, also=r(r"^E: |^$"), pick=Pick.FIRST),
    Rule("dpkg", r(r"^dpkg: error "), 66, BUILD, most=4, also=r(r"^ \S"), pick=Pick.FIRST),
    Rule(
        "compiler",
        r(r"^\S+:\d+(?::\d+)?: (?:fatal )?error: "),
        52,
        BUILD,
        most=3,
        also=r(r"^\s+\d* \|"),
        pick=Pick.FIRST,
        reach=60,
    ),
    Rule(
        "cmake",
        r(r"^CMake Error"),
        52,
        BUILD,
        most=6,
        also=r(r"^\s+\S|^$"),
        pick=Pick.FIRST,
        reach=60,
    ),
)
ONLY_OF_BUILDS = (
    Rule(
        "pip",
        r(r"^ERROR: "),
        50,
        BUILD,
        most=3,
        also=r(r"^ERROR: "),
        unless=r(r"pip's dependency resolver does not|(?:Failed building|Could not build) wheel"),
        reach=60,
    ),
    Rule("make", r(r"^(?:make(?:\[\d+\])?|ninja): (?:\*\*\*|error|build)"), 30, pick=Pick.FIRST),
    Rule("docker-step", STEP, 20, BUILD, Extent.REST, most=4000, reach=4000),
)
BUILD_RULES = (
    *INSTALLERS,
    *ONLY_OF_BUILDS,
    *(replace(rule, streams=PROGRAM, priority=rule.priority - LESS) for rule in INSTALLERS),
)
