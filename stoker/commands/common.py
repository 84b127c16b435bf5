"""What do the subcommands that talk to a server share?"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.answers import Job, StokerError
from stoker.client import Client

FULL_ID = re.compile(r"^[0-9a-z]{8}-[0-9a-z]{4}$")
MATCHES_SHOWN = 5

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        envvar="STOKER_URL",
        metavar="URL",
        help="Stoker's address.",
        show_envvar=False,
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="PEM of who alone vouches for it (or STOKER_CA)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, the start or end of it, or 'last'.")
]


def with_ca(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with ``--ca`` where it talks to a server."""
    signature = inspect.signature(command, eval_str=True)
    if "server" not in signature.parameters:
        return command

    @functools.wraps(command)
    def asked(*args: Any, ca: Path | None = None, **options: Any) -> Any:
        use_ca(ca)
        return command(*args, **options)

    more = inspect.Parameter("ca", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Ca)
    vars(asked)["__signature__"] = signature.replace(
        parameters=[*signature.parameters.values(), more]
    )
    asked.__annotations__ = {**command.__annotations__, "ca": Ca}
    return asked


def use_ca(ca: Path | None) -> None:
    """For all that this process asks of a server."""
    if ca is not None:
        os.environ["STOKER_CA"] = str(ca.absolute())


def one_job(client: Client, text: str) -> Job:
    """The job that ``text`` names: an id, a unique start or end of one, or ``last``."""
    if FULL_ID.match(text):
        return client.job(text)
    if text == "last":
        newest = client.jobs(limit=1).jobs
        if not newest:
            raise StokerError("there is no job yet")
        return client.job(newest[0].id)
    return client.job(unique(client, text.lower()))


def unique(client: Client, text: str) -> str:
    page = client.jobs(text=text, limit=200)
    found = [job.id for job in page.jobs if job.id.startswith(text) or job.id.endswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise StokerError(f"there is no job {text}")
    shown = ", ".join(found[:MATCHES_SHOWN])
    raise StokerError(f"{text} fits {len(found)} jobs: {shown}; write more of the id")
