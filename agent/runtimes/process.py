"""How does a job run as a plain process of this machine? Only by choice: it is no sandbox."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import sys
from pathlib import Path

from agent.folder import AttemptFolder, Note
from agent.runtimes.choice import DOCKERFILE, CannotRead, Choice, choose
from agent.runtimes.cores import Cores
from agent.runtimes.process_environment import (
    Built,
    Environments,
    Interpreter,
    end_builds,
    say,
)
from agent.runtimes.process_secrets import remove_strays
from agent.runtimes.program import Places, limits_of, make_places, program_environment
from agent.runtimes.protocol import CannotPrepare, Launch, News, Output, Preparation, Prepared
from agent.runtimes.shim_runtime import ShimRuntime, StartHost
from schemas.job import Environment

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


class ProcessRuntime(ShimRuntime):
    """A virtual environment and a process in a session of its own, as the agent's user."""

    name = "process"

    def __init__(
        self,
        work: Path,
        base_environment: dict[str, str] | None = None,
        start_host: StartHost | None = None,
    ) -> None:
        super().__init__(work, start_host)
        self._base = {**BASE_ENVIRONMENT, **(base_environment or {})}
        self._root = work / "environments"
        self._environments = Environments(self._root)
        self._in_use: dict[str, str] = {}
        """Attempt to the key of its environment."""
        self._cores = Cores()

    async def check(self) -> str | None:
        if sys.platform == "win32":
            return "the process runtime needs Linux or macOS"
        return None

    async def open(self) -> None:
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        await asyncio.to_thread(end_builds, self._root)
        await super().open()

    async def prepare(self, preparation: Preparation, output: Output) -> Prepared:
        grant, folder = preparation.grant, preparation.folder
        interpreter = find_interpreter(grant.spec.python)
        choice = read_choice(folder.job)
        if (folder.job / DOCKERFILE).exists():
            say(output, "the bundle's Dockerfile is not used: this worker runs plain processes")
        bundle = (grant.bundle, folder.job)
        built = await self._environments.get(
            choice, interpreter, bundle, self._in_use.values(), output
        )
        self._in_use[folder.name] = built.key
        make_places(folder)
        tell(output, choice, interpreter, built)
        environment = Environment(
            source=choice.source,
            base=f"python {interpreter.version}",
            key=built.key,
            cached=built.cached,
            python=interpreter.version,
        )
        return Prepared(environment, self._launch(preparation, built))

    def _launch(self, preparation: Preparation, built: Built) -> Launch:
        grant, folder = preparation.grant, preparation.folder
        base = {**self._base, "VIRTUAL_ENV": str(built.path)}
        base["PATH"] = f"{built.path / 'bin'}:{base['PATH']}"
        return Launch(
            runtime=self.name,
            job=grant.job,
            attempt=grant.attempt,
            worker=preparation.worker,
            folder=str(folder.path),
            command=(str(built.python), grant.spec.entry, *grant.spec.arguments),
            environment=program_environment(
                preparation, base, Places.here(folder, home=str(folder.path))
            ),
            limits=limits_of(grant),
            network="full",
            secrets=bool(grant.spec.secrets),
            details={
                "environment": built.key,
                "cores": self._cores.take(folder.name, grant.spec.resources.cpus),
            },
        )

    async def adopt(self, folder: AttemptFolder, news: News) -> bool:
        data = folder.read_notes().get(Note.LAUNCH)
        if data is not None:
            launch = Launch.unpack(data)
            self._in_use[folder.name] = str(launch.details.get("environment", ""))
            self._cores.put(folder.name, launch.details.get("cores", ()), launch.limits.cpus)
        return await super().adopt(folder, news)

    async def clean(self, wanted: int) -> int:
        removed = await super().clean(wanted) + remove_strays(self._root.parent / "attempts")
        return removed + await self._environments.clean(set(self._in_use.values()), wanted)

    async def discard(self, folder: AttemptFolder) -> None:
        self._in_use.pop(folder.name, None)
        self._cores.give_back(folder.name)
        await super().discard(folder)


def find_interpreter(wanted: str | None) -> Interpreter:
    """Raises ``CannotPrepare`` where the job asks for a Python that is not here."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted in (None, own):
        return Interpreter(sys.executable, own)
    path = shutil.which(f"python{wanted}")
    if path is None:
        raise CannotPrepare(
            f"the job asks for python {wanted}, but this worker has python {own} and runs plain"
            f" processes; install python{wanted} there or leave the version open"
        )
    return Interpreter(path, str(wanted))


def read_choice(bundle: Path) -> Choice:
    try:
        return choose(bundle, dockerfile=False)
    except CannotRead as error:
        raise CannotPrepare(str(error)) from error


def tell(output: Output, choice: Choice, interpreter: Interpreter, built: Built) -> None:
    state = "cached" if built.cached else "built"
    on = "" if choice.source == "python" else f" on python {interpreter.version}"
    version = f" {interpreter.version}" if choice.source == "python" else ""
    say(
        output,
        f"environment {built.key[:8]}… {state}: {choice.source}{version}{on} ({choice.because})"
        f" · no sandbox: runs as user {user()}",
    )


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
