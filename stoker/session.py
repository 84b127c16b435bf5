"""What happens in the terminal between ``stoker up`` and the last Ctrl-C?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

from rich.text import Text

from bus.certificates import CA
from bus.errors import BusError
from stoker import exits, places
from stoker.answers import Job, StokerError
from stoker.client import Client
from stoker.commands.logs import Printer
from stoker.logfile import keep_log
from stoker.stack import Stack, UpConfig, private_folder, running
from stoker.terminal import console, outcome, say
from stoker.tls import PLAIN, is_loopback, outside
from stoker.trust import fingerprint_of

SUBMIT_SECONDS = 60.0
COUNT_SECONDS = 2.0


def run(asked: UpConfig, *, browser: bool = False, demo: bool = False, once: bool = False) -> int:
    """Runs until it is stopped; the code to end with."""
    import uvloop

    private_folder(asked.data)
    keep_log(asked.data / "stoker.log")
    logging.getLogger("stoker.supervise").addHandler(OneLine())
    try:
        return uvloop.run(session(asked, browser, demo, once))
    except BusError as error:
        raise StokerError(str(error)) from error
    except BaseExceptionGroup as group:
        raise single(group) from None


def single(group: BaseExceptionGroup) -> BaseException:
    """The first plain exception of a group."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return StokerError(str(first)) if isinstance(first, BusError) else first


class OneLine(logging.Handler):
    """Tells the terminal that a part failed; the file has the traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            cause = f": {record.exc_info[1]!r}" if record.exc_info else ""
            say(f"stoker: {record.getMessage()}{cause}; it is started again")


async def session(asked: UpConfig, browser: bool, demo: bool, once: bool) -> int:
    stop = asyncio.Event()
    code = 0
    with stopping(stop) as second:
        async with running(asked) as stack:
            second.stack = stack
            show_panel(asked, stack)
            if browser:
                await asyncio.to_thread(open_page, stack.welcome.link or stack.url)
            if demo:
                code = await demonstrated(stack, stop)
            if not (demo and once):
                await stop.wait()
            if stop.is_set():
                say(await told_running(stack))
    return code


class Second:
    """What the second Ctrl-C does: no waiting for anybody."""

    stack: Stack | None = None

    def abort(self) -> None:
        say("Stopped at once.")
        if self.stack is not None:
            with contextlib.suppress(OSError, BusError):
                os.kill(self.stack.server.pid, signal.SIGKILL)
        os._exit(exits.DETACHED)


@contextlib.contextmanager
def stopping(stop: asyncio.Event) -> Iterator[Second]:
    """The first Ctrl-C (or SIGTERM) sets ``stop``; the second aborts."""
    loop = asyncio.get_running_loop()
    second = Second()
    task = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set():
            second.abort()
        stop.set()
        if second.stack is None and task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield second
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def show_panel(asked: UpConfig, stack: Stack) -> None:
    from rich.panel import Panel
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("page", Text(stack.url, "bold cyan"))
    rows.add_row("sign in", sign_in(asked, stack))
    rows.add_row("jobs", told_runtime(stack.runtime))
    rows.add_row("nats", Text(stack.nats))
    rows.add_row("data", Text(short(stack.data)))
    rows.add_row("log", Text(short(stack.data / "stoker.log")))
    panel = Panel(rows, title="Stoker is up", subtitle="Ctrl-C stops it", expand=False)
    console(stderr=True).print(panel)
    if stack.page.certificate and not is_loopback(stack.page.host):
        say(elsewhere(stack))
    for name in stack.plain:
        console(stderr=True).print(f"[bold yellow]Careful:[/] {PLAIN[name]}")


def elsewhere(stack: Stack) -> str:
    """What to type on another machine."""
    (url,) = outside(stack.page.host, stack.url)
    if stack.page.signed is None:
        return f"From elsewhere: stoker login {url}"
    told = fingerprint_of(stack.page.signed / CA)
    return f"From elsewhere: stoker login {url} --ca-fingerprint {told}"


def sign_in(asked: UpConfig, stack: Stack) -> str | Text:
    """The link itself for a person at a terminal only: what a log keeps is no secret."""
    if not asked.page.sign_in:
        return "[bold yellow]off: whoever uses this machine is an admin of this Stoker[/]"
    welcome = stack.welcome
    if not welcome.link:
        again = f"with your password; for a link: stoker user link {welcome.user}"
        return again if welcome.token else "on the page"
    if sys.stderr.isatty():
        return Text.assemble(
            (welcome.link, "bold cyan"), f"\nonce, within 15 min, as {welcome.user}"
        )
    return f"once, within 15 min, by the link in {short(welcome.link_file or stack.data)}"


def told_runtime(runtime: str) -> str:
    if runtime == "process":
        return "[bold yellow]run as plain processes, with no sandbox[/]: send only code you trust"
    return f"run by {runtime}, one container each" if runtime == "docker" else f"run by {runtime}"


def short(path: Path) -> str:
    with contextlib.suppress(ValueError, RuntimeError):
        return f"~/{path.relative_to(Path.home())}"
    return str(path)


def open_page(url: str) -> None:
    import webbrowser

    webbrowser.open(url)


async def told_running(stack: Stack) -> str:
    """What goes on after the end of this process."""
    try:
        async with asyncio.timeout(COUNT_SECONDS):
            counts = (await asyncio.to_thread(client_of(stack).jobs, limit=1)).counts
    except (StokerError, TimeoutError):
        return "Stopping."
    held = sum(counts.get(state, 0) for state in ("starting", "running", "cancelling"))
    if not held:
        return "Stopping."
    if held == 1:
        return "Stopping. 1 job goes on by itself; the next stoker up takes it over."
    return f"Stopping. {held} jobs go on by themselves; the next stoker up takes them over."


def client_of(stack: Stack) -> Client:
    return Client(stack.url, token=stack.welcome.token)


async def demonstrated(stack: Stack, stop: asyncio.Event) -> int:
    """Submits the example and shows its log; 130 where Ctrl-C came first."""
    client = client_of(stack)
    folder = places.examples() / "digits"
    async with asyncio.timeout(SUBMIT_SECONDS):
        job = await asyncio.to_thread(client.submit, folder, key=secrets.token_hex(16))
    say(f"Submitted {folder.name} as job {job.id}: {stack.url}/jobs/{job.id}")
    following = asyncio.ensure_future(shown(stack, job.id))
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            return exits.DETACHED
        return end_of(following.result(), stack)
    finally:
        for task in (following, stopped):
            task.cancel()
        await asyncio.gather(following, stopped, return_exceptions=True)


async def shown(stack: Stack, job: str) -> Job:
    from stoker.following import follow

    printer = Printer()
    async with aclosing(follow(stack.url, job, token=stack.welcome.token)) as events:
        async for event in events:
            printer.show(event)
    printer.finish()
    return await asyncio.to_thread(client_of(stack).wait, job, SUBMIT_SECONDS)


def end_of(job: Job, stack: Stack) -> int:
    say(f"Job {job.id} {outcome(job)}")
    say(f"Its page: {stack.url}/jobs/{job.id}   all jobs: {stack.url}")
    sys.stderr.flush()
    return exits.code_of(job)
