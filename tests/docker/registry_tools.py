"""Registries of one test: a plain one, and one with TLS that asks for a password."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bus.authority import Authority

USER, PASSWORD = "stoker", "correct horse"
HASHED = "$2b$04$.tzwcXMV.rUAHb4AkhCmE.CBezUOkyFJMmjzja7n30ga/NaRPktPe"
TRUSTED = Path("/etc/docker/certs.d")
"""Where an engine looks for whom to trust about a registry."""
NOT_HERE = shutil.which("docker-registry") is None or shutil.which("docker") is None
CANNOT_TRUST = NOT_HERE or not os.access(TRUSTED.parent, os.W_OK)


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def free_address(host: str) -> str:
    with socket.socket() as free:
        free.bind((host, 0))
        return f"{host}:{free.getsockname()[1]}"


@dataclass
class Registry:
    """One that can be stopped and started again."""

    folder: Path
    address: str
    http: str = ""
    """More of its settings."""
    _server: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "registry.yml"
        config.write_text(
            "version: 0.1\nstorage:\n  filesystem:\n"
            f"    rootdirectory: {self.folder / 'data'}\n"
            f"http:\n  addr: {self.address}\n{self.http}"
        )
        silent = subprocess.DEVNULL
        command = ["docker-registry", "serve", str(config)]
        self._server = subprocess.Popen(command, stdout=silent, stderr=silent)
        host, _, port = self.address.partition(":")
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            assert time.monotonic() < deadline, "the registry does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(10)
            self._server = None


@contextlib.contextmanager
def guarded_registry(folder: Path) -> Iterator[Registry]:
    """With a certificate that this machine's engine is told to trust, and a password.

    At the engine's bridge: what listens on the loopback address is trusted in any case.
    """
    host = docker("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}")
    address = free_address(host)
    authority, now = Authority.new(time.time()), time.time()
    folder.mkdir()
    shown, users = folder / "server.pem", folder / "users"
    shown.write_text(authority.issue([host], now))
    users.write_text(f"{USER}:{HASHED}\n")
    http = (
        f"  tls:\n    certificate: {shown}\n    key: {shown}\n"
        f"auth:\n  htpasswd:\n    realm: stoker\n    path: {users}\n"
    )
    registry = Registry(folder, address, http)
    trusted = TRUSTED / address
    trusted.mkdir(parents=True)
    (trusted / "ca.crt").write_text(authority.pem().partition("-----BEGIN PRIVATE")[0])
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
        shutil.rmtree(trusted)


def logins(file: Path, address: str, password: str = PASSWORD) -> Path:
    """A file such as ``docker login`` writes."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    file.write_text(json.dumps({"auths": {address: {"auth": auth}}}))
    return file
