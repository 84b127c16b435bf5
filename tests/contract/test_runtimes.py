"""The contract that every runtime keeps."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
from pathlib import Path

import pytest

from agent.lease import Lease, boot_time
from agent.runtimes.cores import own_cores
from agent.runtimes.protocol import CannotPrepare, Runtime
from schemas.reason import Reason
from schemas.stream import Stream

from .conftest import Begin, make_runtime
from .programs import FLOOD, HUNGRY, LINES, SLEEP, STUBBORN, Program, dummy

NEAR = 20.0
"""Seconds in which happens what takes no time by itself, on a busy machine, too."""


async def test_stdout_and_stderr_are_told_apart(begin: Begin) -> None:
    code = "import sys\nsys.stdout.write('out\\n')\nsys.stderr.write('err\\n')"
    attempt = begin(Program(code, dummy(OUT="out\n", ERR="err\n")))
    exit = await attempt.run()
    assert (exit.reason, exit.code) == (Reason.EXIT, 0)
    assert attempt.output(Stream.STDOUT) == b"out\n"
    assert attempt.output(Stream.STDERR) == b"err\n"
    assert exit.log_end == sum(len(attempt.output(stream)) for stream in Stream)


async def test_a_last_line_without_its_end_is_kept(begin: Begin) -> None:
    attempt = begin(
        Program("print('50%', end='\\r')\nprint('100%', end='')", dummy(OUT="50%\r100%"))
    )
    await attempt.run()
    assert attempt.output(Stream.STDOUT) == b"50%\r100%"


async def test_bytes_that_are_not_utf8_are_kept(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy's bytes come from environment variables")
    attempt = begin(Program("import sys\nsys.stdout.buffer.write(bytes(range(256)))"))
    await attempt.run()
    assert attempt.output(Stream.STDOUT) == bytes(range(256))


async def test_a_line_of_a_mebibyte_is_kept(begin: Begin) -> None:
    size = 1 << 20
    program = Program(f"print('x' * ({size} - 1))", dummy(LINES=1, LINE_BYTES=size))
    attempt = begin(program)
    await attempt.run()
    printed = attempt.output(Stream.STDOUT)
    assert (len(printed), printed.count(b"\n")) == (size, 1)


async def test_a_hundred_thousand_lines_are_kept_in_order(begin: Begin) -> None:
    attempt = begin(LINES)
    exit = await attempt.run()
    lines = attempt.output(Stream.STDOUT).splitlines()
    assert len(lines) == 100_000
    assert all(line.startswith(b"line %d" % index) for index, line in enumerate(lines))
    assert exit.code == 0


@pytest.mark.parametrize("bound", [{"log_rate": 10_000}, {"log_total": 100_000}])
async def test_a_flood_is_bounded_and_told_and_its_end_is_kept(
    begin: Begin, kind: str, bound: dict[str, int]
) -> None:
    attempt = begin(FLOOD, **bound)
    exit = await attempt.run()
    assert exit.code == 1
    lines = attempt.output(Stream.STDOUT).splitlines()
    assert lines[0].startswith(b"line 0 ")
    assert lines[-1].startswith(b"line 99999 ")
    words = attempt.output(Stream.STOKER)
    assert b"[stoker] output is left out from here on: " in words
    told = re.findall(rb"(\d+) lines\) of output are missing here: ", words)
    last = 0 if kind == "dummy" else 1
    errors = attempt.output(Stream.STDERR).splitlines()
    assert errors == [b"the last word"] * last
    assert len(lines) + sum(map(int, told)) == 100_000
    assert 500 < len(lines) < 20_000


async def test_no_secret_leaves_in_what_is_printed(begin: Begin) -> None:
    secret = "hf_0123456789abcdef"
    coded = base64.b64encode(f"x:{secret}".encode()).decode()
    code = (
        "import base64, os, sys, time\nsecret = os.environ['HF_TOKEN']\n"
        "for part in ('token ', secret[:9], secret[9:], ' ', secret.encode().hex(), '\\n'):\n"
        "    sys.stdout.write(part)\n    sys.stdout.flush()\n"
        "sys.stderr.write(base64.b64encode(b'x:' + secret.encode()).decode())"
    )
    wishes = dummy(OUT=f"token {secret} {secret.encode().hex()}\n", ERR=coded)
    attempt = begin(Program(code, wishes), environment={"HF_TOKEN": secret})
    await attempt.run()
    assert attempt.output(Stream.STDOUT) == b"token [redacted HF_TOKEN] [redacted HF_TOKEN]\n"
    shown = attempt.output(Stream.STDERR)
    assert b"[redacted HF_TOKEN]" in shown
    assert coded[8:20].encode() not in shown


async def test_what_may_become_a_secret_is_shown_after_a_silence(begin: Begin) -> None:
    code = "import time\nprint('login: hf_012', end='', flush=True)\ntime.sleep(60)"
    program = Program(code, dummy(OUT="login: hf_012", SLEEP=60))
    attempt = begin(program, environment={"HF_TOKEN": "hf_0123456789abcdef"})
    await attempt.start()
    waiting = asyncio.create_task(attempt.wait())
    await attempt.until_printed(b"login: hf_012")
    await attempt.runtime.stop(attempt.folder, 0, Reason.CANCELLED)
    await waiting


@pytest.mark.parametrize("code", [0, 1, 3, 255])
async def test_the_exit_code_is_the_programs_own(begin: Begin, code: int) -> None:
    exit = await begin(Program(f"raise SystemExit({code})", dummy(EXIT=code))).run()
    assert (exit.reason, exit.code, exit.signal) == (Reason.EXIT, code, None)


async def test_a_program_that_a_signal_ended_says_which(begin: Begin) -> None:
    code = "import os, signal\nsignal.signal(2, signal.SIG_DFL)\nos.kill(os.getpid(), 2)"
    exit = await begin(Program(code, dummy(SIGNAL=2))).run()
    assert (exit.reason, exit.code, exit.signal) == (Reason.EXIT, None, signal.SIGINT)


async def test_the_start_is_known_before_the_end(begin: Begin) -> None:
    attempt = begin(SLEEP)
    await attempt.start()
    waiting = asyncio.ensure_future(attempt.wait())
    await attempt.until_printed(b"ready")
    started_at = attempt.runtime.started_at(attempt.folder)
    assert started_at is not None
    await attempt.runtime.stop(attempt.folder, 5, Reason.CANCELLED)
    assert (await waiting).started_at == pytest.approx(started_at)


async def test_the_time_limit_ends_the_program(begin: Begin) -> None:
    exit = await begin(SLEEP, timeout=0.5).run()
    assert exit.reason is Reason.TIMEOUT
    assert "0.5 s" in exit.detail
    assert exit.started_at is not None
    assert exit.ended_at - exit.started_at < NEAR


async def test_silence_ends_the_program_when_it_has_a_limit(begin: Begin) -> None:
    attempt = begin(SLEEP, idle_timeout=0.6, timeout=50)
    exit = await attempt.run()
    assert exit.reason is Reason.IDLE_TIMEOUT
    assert "0.6 s" in exit.detail
    assert attempt.output(Stream.STDOUT) == b"ready\n"
    assert exit.started_at is not None
    assert exit.ended_at - exit.started_at < NEAR


async def test_whoever_prints_now_and_then_is_not_silent(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("it prints all at its start")
    code = "import time\nfor n in range(16):\n    print(n)\n    time.sleep(0.1)"
    exit = await begin(Program(code), idle_timeout=1.2).run()
    assert (exit.reason, exit.code) == (Reason.EXIT, 0)


async def test_an_exclusive_program_dies_with_its_lease(begin: Begin, work: Path) -> None:
    attempt = begin(STUBBORN, exclusive=True)
    await attempt.prepare()
    Lease(work).renew(boot_time(), 6.0)
    await attempt.start()
    exit = await attempt.wait()
    assert (exit.reason, exit.signal) == (Reason.LEASE_EXPIRED, signal.SIGKILL)
    assert exit.started_at is not None
    assert exit.ended_at - exit.started_at < NEAR


async def test_an_exclusive_program_runs_while_its_lease_is_renewed(
    begin: Begin, work: Path
) -> None:
    program = Program("import time\ntime.sleep(4)", dummy(SLEEP=4))
    attempt = begin(program, exclusive=True, grace=0.1)
    await attempt.prepare()
    Lease(work).renew(boot_time(), 4.0)
    running = asyncio.ensure_future(attempt.run())
    while not running.done():
        await asyncio.wait((running,), timeout=0.3)
        Lease(work).renew(boot_time(), 4.0)
    assert (running.result().reason, running.result().code) == (Reason.EXIT, 0)


async def test_an_exclusive_program_does_not_start_without_a_lease(
    begin: Begin, work: Path
) -> None:
    attempt = begin(SLEEP, exclusive=True)
    await attempt.prepare()
    Lease(work).renew(boot_time() - 30.0, 30.0)
    assert (await attempt.run()).reason is Reason.LEASE_EXPIRED
    assert attempt.output(Stream.STDOUT) == b""


async def test_a_stop_is_a_sigterm_first(begin: Begin) -> None:
    attempt = begin(SLEEP)
    await attempt.start()
    waiting = asyncio.ensure_future(attempt.wait())
    await attempt.until_printed(b"ready")
    await attempt.runtime.stop(attempt.folder, 30, Reason.CANCELLED)
    async with asyncio.timeout(NEAR):
        exit = await waiting
    assert (exit.reason, exit.signal) == (Reason.CANCELLED, signal.SIGTERM)


async def test_who_ignores_sigterm_is_killed_after_the_grace(begin: Begin) -> None:
    attempt = begin(STUBBORN)
    await attempt.start()
    waiting = asyncio.ensure_future(attempt.wait())
    await attempt.until_printed(b"ready")
    await attempt.runtime.stop(attempt.folder, 0.5, Reason.PREEMPTED)
    async with asyncio.timeout(NEAR):
        exit = await waiting
    assert (exit.reason, exit.signal) == (Reason.PREEMPTED, signal.SIGKILL)


async def test_too_much_memory_is_named_as_such(begin: Begin) -> None:
    exit = await begin(HUNGRY, resources={"memory": "96m", "shm": "1m"}).run()
    assert exit.reason is Reason.OOM


async def test_the_most_memory_that_was_used_is_told(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy uses nothing")
    code = "import time\nheld = bytearray(b'x') * (90 << 20)\nprint('ready')\ntime.sleep(1)"
    exit = await begin(Program(code), resources={"memory": "512m"}).run()
    assert exit.peak_memory is not None
    assert 90 << 20 < exit.peak_memory < 250 << 20


@pytest.mark.parametrize(
    "way",
    ["os.fork() or time.sleep(60)", "Thread(target=time.sleep, args=(60,), daemon=True).start()"],
)
async def test_more_processes_than_a_job_may_have_are_not_had(
    begin: Begin, kind: str, way: str
) -> None:
    if kind == "dummy":
        pytest.skip("the dummy has no processes")
    code = (
        "import os, time\nfrom threading import Thread\n"
        f"for _ in range(60):\n    {way}\n"
        "print('all of them', flush=True)\ntime.sleep(60)"
    )
    attempt = begin(Program(code), resources={"pids": 40})
    exit = await attempt.run()
    assert (exit.reason, exit.code == 0) == (Reason.EXIT, False)
    if kind == "process":
        told = "more than 40 processes and threads at one time"
        assert (exit.signal, exit.detail) == (signal.SIGKILL, told)
        assert attempt.output(Stream.STOKER).endswith(f"[stoker] {told}: killed\n".encode())
    else:
        assert b"all of them" not in attempt.output(Stream.STDOUT)


async def test_a_plain_process_runs_on_as_many_cores_as_it_asked_for(
    begin: Begin, kind: str
) -> None:
    if kind != "process" or len(own_cores()) < 2:
        pytest.skip("an engine shares out time instead; one core cannot be divided")
    code = "import os\nprint(len(os.sched_getaffinity(0)))"
    attempts = [begin(Program(code), resources={"cpus": cpus}) for cpus in (0.5, 1, 1024)]
    for attempt in attempts:
        await attempt.run()
    printed = [int(attempt.output(Stream.STDOUT)) for attempt in attempts]
    assert printed == [1, 1, len(own_cores())]


async def test_arguments_and_environment_arrive(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy runs nothing")
    code = (
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], os.getcwd(), os.listdir(), dict(os.environ)]))"
    )
    attempt = begin(
        Program(code),
        arguments=["--epochs", "3", "ä b"],
        environment={"GREETING": "hällo $HOME", "STOKER_RANK": "7"},
    )
    await attempt.run()
    arguments, folder, files, environment = json.loads(attempt.output(Stream.STDOUT))
    assert arguments == ["--epochs", "3", "ä b"]
    assert (folder, files) == ("/job" if kind == "docker" else folder, ["main.py"])
    assert environment["GREETING"] == "hällo $HOME"
    assert environment["STOKER_RANK"] == "7"
    assert environment["STOKER_JOB"] == attempt.grant.job
    assert environment["PYTHONUNBUFFERED"] == "1"


async def test_the_program_writes_to_its_folder_and_outputs(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy writes nothing")
    code = (
        "import os, pathlib\n"
        "pathlib.Path('here').write_text('a')\n"
        "pathlib.Path(os.environ['STOKER_OUTPUTS'], 'model').write_text('b')\n"
    )
    attempt = begin(Program(code))
    exit = await attempt.run()
    assert exit.code == 0, attempt.output(Stream.STDERR)
    assert (attempt.folder.outputs / "model").read_text() == "b"
    assert (attempt.folder.job / "here").read_text() == "a"


async def test_an_entry_file_that_fails_shows_its_traceback(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy runs nothing")
    attempt = begin(Program("raise ValueError('a bad day')"))
    assert (await attempt.run()).code == 1
    assert b"ValueError: a bad day" in attempt.output(Stream.STDERR)


async def test_children_do_not_outlive_the_program(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy has no children")
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(50)'],"
        " start_new_session=True)\n"
        "print('done')"
    )
    attempt = begin(Program(code))
    async with asyncio.timeout(4 * NEAR):
        exit = await attempt.run()
    assert (exit.code, attempt.output(Stream.STDOUT)) == (0, b"done\n")


async def test_the_choice_of_the_environment_is_in_the_log(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("the dummy has no environment")
    attempt = begin(Program("print(1)"))
    await attempt.run()
    said = attempt.output(Stream.STOKER)
    assert said.startswith(b"[stoker] ")
    assert b"python" in said


async def test_requirements_that_cannot_be_met_fail_the_build(begin: Begin, kind: str) -> None:
    files = {"requirements.txt": "./not-there\n"}
    attempt = begin(Program("print(1)", dummy(BUILD_FAILS=1)), files)
    with pytest.raises(CannotPrepare) as caught:
        await attempt.prepare()
    assert caught.value.reason is Reason.BUILD_FAILED


async def test_a_cancelled_build_leaves_nothing(begin: Begin, kind: str, runtime: Runtime) -> None:
    setup = "import time\ntime.sleep(60)\n"
    files = {"requirements.txt": "./slow\n"}
    attempt = begin(Program("print(1)", dummy(BUILD=60)), files)
    (attempt.folder.job / "slow").mkdir()
    (attempt.folder.job / "slow" / "setup.py").write_text(setup)
    building = asyncio.ensure_future(attempt.prepare())
    async with asyncio.timeout(30):
        await attempt.building.wait()
    building.cancel()
    async with asyncio.timeout(NEAR):
        with pytest.raises(asyncio.CancelledError):
            await building
    with_no_packages = begin(Program("print(1)"))
    assert (await with_no_packages.run()).code == 0


async def test_a_successor_takes_up_what_runs(begin: Begin, kind: str, work: object) -> None:
    if kind == "dummy":
        pytest.skip("a dummy attempt ends with its agent")
    code = (
        "import pathlib, time\n"
        "print('ready')\n"
        "while not pathlib.Path('go').exists():\n    time.sleep(0.02)\n"
        "print('went on')\nraise SystemExit(5)"
    )
    attempt = begin(Program(code))
    await attempt.start()
    await attempt.until_printed(b"ready")
    await attempt.runtime.close()
    attempt.runtime = make_runtime(kind, work)  # type: ignore[arg-type]
    await attempt.runtime.open()
    assert await attempt.runtime.adopt(attempt.folder, attempt.on_news)
    (attempt.folder.job / "go").touch()
    exit = await attempt.wait()
    assert exit.code == 5
    assert attempt.output(Stream.STDOUT) == b"ready\nwent on\n"
    await attempt.runtime.discard(attempt.folder)
    await attempt.runtime.close()


async def test_a_successor_reads_an_exit_that_nobody_waited_for(begin: Begin, kind: str) -> None:
    if kind == "dummy":
        pytest.skip("a dummy attempt ends with its agent")
    attempt = begin(Program("raise SystemExit(6)"))
    assert (await attempt.run()).code == 6
    await attempt.runtime.discard(attempt.folder)
    assert await attempt.runtime.adopt(attempt.folder, attempt.on_news)
    assert (await attempt.wait()).code == 6


async def test_what_never_started_is_not_adopted(begin: Begin) -> None:
    attempt = begin(SLEEP)
    assert not await attempt.runtime.adopt(attempt.folder, attempt.on_news)
    assert (await attempt.wait()).reason is Reason.AGENT_ERROR
