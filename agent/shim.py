"""How does one attempt's program run, whatever becomes of the agent?

A shim launches it, drains it into the spool, enforces its time and memory limits, carries out a
stop by itself, and writes the exit down. It meets the agent in the attempt's folder only.
Synchronous, small imports: it is forked from the shim host. One thread, and one that measures.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgpack

from agent.disk import is_full
from agent.flood import Bound
from agent.folder import ENDED, PRINTED, STARTED, AttemptFolder, Note
from agent.gather import Gather
from agent.handing import NONE, NotHanded, Secrets, take
from agent.intake import Intake
from agent.lease import LOOK_EVERY, RAN_OUT, boot_time, of_attempt
from agent.looks import FIRST_LOOK, Ending, excess, pause, with_peak
from agent.runtimes.launchers import launcher
from agent.runtimes.protocol import CannotLaunch, Exit, Launch, Launched, OutOfSight, Source
from agent.spool import SpoolWriter
from agent.stopping import tell_why
from agent.written import FIRST_LOOK as FIRST_MEASURE
from agent.written import Watch
from schemas.reason import Reason

DRAIN_SECONDS = 5.0
"""How long output is awaited after the program has ended while something else holds its pipes."""
KILL_AGAIN = 1.0
"""Seconds after which a SIGKILL is repeated: new children may have appeared meanwhile."""
EXIT_TRIES = 600
"""Times one second that the exit is tried to be written on a full disk."""

REGAIN_EVERY = 0.1
"""Seconds between two looks whether a program that is out of sight can be seen again."""
REGAIN_SECONDS = 300.0
"""How long an engine that went away may take to come back and say what became of the program."""
REST_READS = 64
"""Reads of what a program printed before it went out of sight, about a MiB each."""

Timer = Callable[[], None]


class Shim:
    """One attempt, from launch to exit."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._folder = folder
        self._launch = Launch.unpack(folder.read_notes()[Note.LAUNCH])
        self._selector = selectors.DefaultSelector()
        self._control = os.open(folder.control, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = os.open(folder.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._spool = SpoolWriter(folder.spool)
        limits = self._launch.limits
        self._log = self._intake(NONE)
        self._lease = of_attempt(folder.path)
        self._timers: dict[Timer, float] = {}
        self._commands = b""
        self._sources = 0
        self._gather = Gather()
        self._read = 0
        """Bytes of output in this turn of the loop."""
        self._ending: Ending | None = None
        self._exit: Exit | None = None
        self._gave_up = False
        self._sight_lost: float | None = None
        """Since when the program is out of sight."""
        self._peak = 0
        folders = (folder.job, folder.outputs, folder.checkpoints)
        self._watch_disk = Watch(folders, limits.disk, self._note_too_much)
        self._wrote_too_much = ""

    def run(self) -> None:
        if self._launch.limits.exclusive and self._lease.ends_in(boot_time())[1] <= 0:
            self._finish(Exit(Reason.LEASE_EXPIRED, detail=RAN_OUT))
            return
        try:
            secrets = take(self._folder.secrets) if self._launch.secrets else NONE
            self._log = self._intake(secrets)
            launched = launcher(self._launch.runtime).launch(self._launch, secrets)
        except (CannotLaunch, NotHanded) as error:
            self._finish(Exit(error.reason, detail=str(error)))
            return
        try:
            at = time.time()
            self._tell_started(launched, at)
            self._watch(launched)
            self._finish(replace(self._judged(), started_at=at))
        finally:
            launched.close()

    def _intake(self, secrets: Secrets) -> Intake:
        limits, environment = self._launch.limits, self._launch.environment
        bound = Bound(limits.log_rate, limits.log_total)
        return Intake(self._spool, environment, bound, time.monotonic(), secrets.texts())

    def _tell_started(self, launched: Launched, at: float) -> None:
        with contextlib.suppress(OSError):
            body = msgpack.packb({"at": at, "identity": launched.identity})
            self._folder.add_note(Note.STARTED, body)
        self._poke(STARTED)

    # The loop.

    def _watch(self, launched: Launched) -> None:
        """Until the program has ended and all that it printed is in the spool."""
        self._launched = launched
        now = time.monotonic()
        if self._launch.limits.timeout is not None:
            self._timers[self._on_time_up] = now + self._launch.limits.timeout
        self._timers[self._on_look] = now + FIRST_LOOK
        self._timers[self._on_written] = now + FIRST_MEASURE
        if self._launch.limits.exclusive:
            self._timers[self._on_lease] = now
        self._attend()
        self._register(self._control, self._on_control)
        while (self._exit is None or self._sources) and not self._gave_up:
            self._step()
        self._watch_disk.stop()

    def _attend(self) -> None:
        """Listens to a program that is in sight."""
        self._heard()
        for source in self._launched.sources:
            if not source.lasting or self._sight_lost is None:
                self._register(source.fileno(), partial(self._on_output, source))
                self._sources += 1
        self._register(self._launched.exited, self._on_exited)

    def _register(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, handler)

    def _step(self) -> None:
        due = min(
            (at for at in (*self._timers.values(), self._log.due) if at is not None), default=None
        )
        ready = self._selector.select(None if due is None else max(0.0, due - time.monotonic()))
        before, self._read = self._spool.offset, 0
        for key, _ in ready:
            # One of them may have ended the others.
            if key.fd in self._selector.get_map():
                key.data()
        now = time.monotonic()
        if self._log.due is not None and self._log.due <= now:
            self._log.tick(now)
        if self._spool.offset != before:
            self._poke(PRINTED)
        for timer in [timer for timer, at in self._timers.items() if at <= now]:
            if self._timers.pop(timer, None) is not None:
                timer()
        if self._read and (seconds := self._gather.pause(self._read, now)):
            time.sleep(seconds)

    def _poke(self, news: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake, news)

    # What is heard.

    def _on_output(self, source: Source) -> None:
        pieces = source.read()
        if pieces is None:
            self._drop(source)
            return
        now = time.monotonic()
        for stream, data in pieces:
            self._log.append(stream, data, now)
            self._read += len(data)
        if pieces:
            self._heard()

    def _heard(self) -> None:
        """It printed, or began: from now on its silence counts."""
        if self._launch.limits.idle_timeout is not None and self._exit is None:
            self._timers[self._on_silence] = time.monotonic() + self._launch.limits.idle_timeout

    def _on_exited(self) -> None:
        try:
            self._exit = self._launched.exit()
        except OutOfSight as why:
            self._lose_sight(str(why))
        if self._exit is not None:
            self._selector.unregister(self._launched.exited)
            self._launched.kill()
            self._end()

    def _end(self) -> None:
        """It has ended: only what it printed before that is still to come."""
        self._timers.clear()
        self._timers[self._give_up] = time.monotonic() + DRAIN_SECONDS
        for source in self._launched.sources:
            self._read_rest(source)

    def _lose_sight(self, why: str) -> None:
        """Of the program; what has no engine in between goes on to be heard."""
        for source in self._launched.sources:
            self._read_rest(source)
            if not source.lasting:
                self._drop(source)
        self._selector.unregister(self._launched.exited)
        self._note_sight(why)
        if any(source.lasting for source in self._launched.sources):
            self._say(f"{why}: it runs on, and is heard all the same")
        else:
            self._timers.pop(self._on_silence, None)
            self._say(f"{why}: what the program prints now may be missing")
        self._sight_lost = time.monotonic()
        self._timers[self._on_regain] = self._sight_lost

    def _on_regain(self) -> None:
        now = time.monotonic()
        try:
            self._exit = self._launched.regain()
        except OutOfSight as why:
            if now - (self._sight_lost or now) < REGAIN_SECONDS:
                self._timers[self._on_regain] = now + REGAIN_EVERY
                return
            self._exit = Exit(Reason.ENGINE_RESTARTED, detail=f"{why} and did not come back")
        if self._exit is not None:
            self._end()
            self._say(self._exit.detail or "the program ended meanwhile")
            return
        self._note_sight("")
        if not any(source.lasting for source in self._launched.sources):
            self._say("the program is heard again; what it printed meanwhile may be missing here")
        self._attend()
        self._sight_lost = None
        if self._ending is not None:
            self._launched.signal(signal.SIGTERM)

    def _read_rest(self, source: Source) -> None:
        """What is there by now."""
        for _ in range(REST_READS if source.fileno() in self._selector.get_map() else 0):
            pieces = source.read()
            if not pieces:
                if pieces is None:
                    self._drop(source)
                return
            for stream, data in pieces:
                self._log.append(stream, data, time.monotonic())

    def _drop(self, source: Source) -> None:
        if source.fileno() in self._selector.get_map():
            self._selector.unregister(source.fileno())
            self._sources -= 1

    def _note_sight(self, why: str) -> None:
        """For the agent, where the shim is a container itself and dies with the engine."""
        with contextlib.suppress(OSError):
            self._folder.add_note(Note.UNSEEN, why.encode())

    def _on_control(self) -> None:
        self._commands += os.read(self._control, 4096)
        *lines, self._commands = self._commands.split(b"\n")
        for line in lines:
            match line.decode("ascii", "replace").split():
                case ["stop", grace, reason]:
                    self._stop(float(grace), Ending(Reason(reason), ""))
                case ["say", words]:
                    self._say(base64.b64decode(words).decode("utf-8", "replace"))
                case ["wrote"]:
                    self._run_out(Ending(Reason.OUTPUTS_TOO_LARGE, self._wrote_too_much))

    def _on_written(self) -> None:
        """It has run for a while: a thread costs a short job more than its disk is worth."""
        self._watch_disk.start()

    def _note_too_much(self, words: str) -> None:
        """From the thread that measures."""
        self._wrote_too_much = words
        with contextlib.suppress(OSError):
            os.write(self._control, b"wrote\n")

    # What is due.

    def _on_time_up(self) -> None:
        timeout = self._launch.limits.timeout
        self._run_out(Ending(Reason.TIMEOUT, f"the time limit of {timeout:g} s was reached"))

    def _on_silence(self) -> None:
        seconds = self._launch.limits.idle_timeout
        detail = f"nothing was printed for {seconds:g} s, its limit"
        self._run_out(Ending(Reason.IDLE_TIMEOUT, detail))

    def _run_out(self, ending: Ending) -> None:
        """Of one of its times; nothing new where it is being stopped already."""
        if self._ending is None:
            self._say(f"{ending.detail}: stopping")
        self._stop(self._launch.limits.grace, ending)

    def _on_lease(self) -> None:
        """SIGTERM by the grace before the lease's end, as far as that fits; SIGKILL at its end."""
        warning, end = self._lease.ends_in(boot_time())
        notice = min(self._launch.limits.grace, end - warning)
        if end <= notice:
            if self._ending is None:
                self._say(f"{RAN_OUT}: stopping")
            self._stop(max(0.0, end), Ending(Reason.LEASE_EXPIRED, RAN_OUT))
        until = end - notice if end > notice else max(end, 0.0)
        self._timers[self._on_lease] = time.monotonic() + min(LOOK_EVERY, until or LOOK_EVERY)

    def _on_look(self) -> None:
        """A look at what the program uses, where the runtime does not limit it by itself."""
        use = self._launched.use()
        if use is None:
            return
        limits = self._launch.limits
        self._peak = max(self._peak, use.peak)
        broken = excess(use, limits)
        if broken and self._ending is None:
            self._say(f"{broken[1]}: killed")
        if broken:
            self._stop(0, Ending(*broken))
        self._timers[self._on_look] = time.monotonic() + pause(use, limits)

    def _say(self, words: str) -> None:
        """A line of Stoker's own in the log."""
        self._log.say(words)
        self._poke(PRINTED)

    def _stop(self, grace: float, ending: Ending) -> None:
        """SIGTERM, ``grace`` seconds, SIGKILL. A second stop can only bring the SIGKILL forward."""
        now = time.monotonic()
        if self._exit is not None:
            return
        if self._ending is None:
            self._ending = ending
            if grace > 0:
                tell_why(self._folder, ending.reason, grace)
                self._launched.signal(signal.SIGTERM)
        earlier = self._timers.get(self._on_kill, now + grace)
        self._timers[self._on_kill] = min(earlier, now + grace)

    def _on_kill(self) -> None:
        self._launched.kill()
        self._timers[self._on_kill] = time.monotonic() + KILL_AGAIN

    def _give_up(self) -> None:
        self._gave_up = True

    # The end.

    def _judged(self) -> Exit:
        exit = self._exit or Exit(Reason.AGENT_ERROR, detail="the program's end was not seen")
        exit = with_peak(exit, self._peak, self._launch.limits)
        if self._ending is not None and exit.reason in (Reason.EXIT, Reason.ENGINE_RESTARTED):
            exit = replace(exit, reason=self._ending.reason, detail=self._ending.detail)
        elif exit.reason is Reason.EXIT and exit.code != 0 and is_full(self._folder.path):
            detail = "the worker's disk was full when the program failed"
            exit = replace(exit, reason=Reason.DISK_FULL, detail=detail)
        return exit

    def _finish(self, exit: Exit) -> None:
        self._log.close(time.monotonic())
        exit = replace(exit, detail=self._log.redacted(exit.detail))
        data = replace(exit, log_end=self._spool.offset, ended_at=time.time()).pack()
        for _ in range(EXIT_TRIES):
            try:
                self._folder.add_note(Note.EXIT, data)
                break
            except FileNotFoundError:
                break  # The attempt's folder was removed: nobody asks any more.
            except OSError:
                time.sleep(1)
        self._poke(ENDED)


def run_shim(path: str) -> None:
    """Runs the attempt in folder ``path`` unless another shim does, or it has ended."""
    folder = AttemptFolder(Path(path))
    lock = os.open(folder.notes, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    if not {Note.STARTED, Note.EXIT, Note.VOID}.isdisjoint(folder.read_notes()):
        return
    try:
        Shim(folder).run()
    except BaseException:
        with contextlib.suppress(OSError):
            Path(folder.shim_log).write_text(traceback.format_exc())
        raise
