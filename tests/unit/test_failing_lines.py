"""Which line of a failed build is told as its reason?"""

from __future__ import annotations

import pytest

from agent.runtimes.failing_lines import LONGEST, FailingLines

PIP_GONE = """\
Collecting stoker-nowhere==9.9
ERROR: Could not find a version that satisfies the requirement stoker-nowhere==9.9 (from versions: none)
ERROR: No matching distribution found for stoker-nowhere==9.9
"""  # noqa: E501
PIP_CONFLICT = """\
ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.

The conflict is caused by:
    a 1 depends on c<2
    b 2 depends on c>=2

ERROR: ResolutionImpossible: for help visit the page about dependency conflicts
"""
PIP_SETUP = """\
  error: subprocess-exited-with-error

  \u00d7 Getting requirements to build wheel did not run successfully.
  \u2502 exit code: 1
  \u2570\u2500> [3 lines of output]
      Traceback (most recent call last):
        File "<string>", line 1, in <module>
      ModuleNotFoundError: No module named 'torch'
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Failed to build 'flash-attn' when getting requirements to build wheel
"""
PIP_METADATA = """\
error: metadata-generation-failed

\u00d7 Encountered error while generating package metadata.
\u2570\u2500> harm

note: This is an issue with the package mentioned above, not pip.
"""
APT = """\
Reading package lists...
E: Unable to locate package libnowhere-dev
E: Unable to locate package libnowhere2
"""
APT_FETCH = """\
E: Failed to fetch http://example.org/x.deb  404  Not Found [IP: 192.0.2.1 80]
E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?
"""
DPKG = """\
dpkg: error processing package nowhere (--configure):
 installed nowhere package post-installation script subprocess returned error exit status 1
Errors were encountered while processing:
 nowhere
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""
UV = """\
error: Failed to parse `uv.lock`
  Caused by: TOML parse error at line 1, column 3
"""
UV_CAUSE = """\
error: Failed to read `x @ file:///x.whl`
  cause: Hash mismatch for `x @ file:///x.whl`

         Expected:
           sha256:00
"""
UV_RESOLUTION = """\
  \u00d7 No solution found when resolving dependencies:
  \u2570\u2500\u25b6 Because nowhere was not found there, requirements are unsatisfiable.
"""
MAMBA = """\
error    libmamba Could not solve for environment specs
    The following package could not be installed
    \u2514\u2500 nowhere =* * does not exist (perhaps a typo or a missing channel).
critical libmamba Could not solve for environment specs
"""
BUILDKIT = """\
#7 [2/3] RUN apt-get install -y nowhere
#7 0.412 Reading package lists...
#7 0.655 E: Unable to locate package nowhere
#7 ERROR: process "/bin/sh -c apt-get install -y nowhere" did not complete successfully: exit code: 100
"""  # noqa: E501
COLOURED = "\x1b[31mERROR: No matching distribution found for x\x1b[0m\n"
TOLERATED = """\
Step 2/4 : RUN apt-get install -y nowhere || true
E: Unable to locate package nowhere
Step 3/4 : RUN make
make: *** No rule to make target 'all'.  Stop.
"""


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (PIP_GONE, "No matching distribution found for stoker-nowhere==9.9"),
        (
            PIP_CONFLICT,
            "Cannot install a==1 and b==2 because these package versions have conflicting"
            " dependencies.",
        ),
        (PIP_SETUP, "Failed to build 'flash-attn' when getting requirements to build wheel"),
        (PIP_METADATA, "Encountered error while generating package metadata: harm"),
        (APT, "Unable to locate package libnowhere-dev"),
        (APT_FETCH, "Failed to fetch http://example.org/x.deb  404  Not Found [IP: 192.0.2.1 80]"),
        (
            DPKG,
            "processing package nowhere (--configure): installed nowhere package"
            " post-installation script subprocess returned error exit status 1",
        ),
        (UV, "Failed to parse `uv.lock`: TOML parse error at line 1, column 3"),
        (UV_CAUSE, "Failed to read `x @ file:///x.whl`: Hash mismatch for `x @ file:///x.whl`"),
        (
            UV_RESOLUTION,
            "No solution found when resolving dependencies: Because nowhere was not found there,"
            " requirements are unsatisfiable.",
        ),
        (
            MAMBA,
            "libmamba Could not solve for environment specs: nowhere =* * does not exist (perhaps"
            " a typo or a missing channel).",
        ),
        (BUILDKIT, "Unable to locate package nowhere"),
        (COLOURED, "No matching distribution found for x"),
        (TOLERATED, ""),
        ("all is well\n", ""),
    ],
    ids=[
        *("pip", "pip-conflict", "pip-setup", "pip-metadata", "apt", "apt-fetch", "dpkg"),
        *(
            "uv",
            "uv-cause",
            "uv-resolution",
            "mamba",
            "buildkit",
            "coloured",
            "tolerated",
            "nothing",
        ),
    ],
)
def test_the_line_that_says_why_is_the_reason(printed: str, reason: str) -> None:
    whole, cut = FailingLines(), FailingLines()
    whole.take(printed.encode())
    for byte in printed.encode():
        cut.take(bytes([byte]))
    assert whole.end() == cut.end() == reason


def test_a_line_without_an_end_is_read_too_and_nothing_of_it_grows() -> None:
    failing = FailingLines()
    for _ in range(200):
        failing.take(b"x" * 10_000)
    failing.take(b"\nERROR: " + b"y" * 10_000)
    assert failing.end() == "y" * LONGEST
