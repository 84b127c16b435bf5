"""Which network does a container get, and how is the way into this machine's own barred? Blocking.

``none`` is the default, ``full`` the engine's bridge. ``outbound`` is a bridge of our own whose
traffic passes two chains of the machine's packet filter: the internet is let through; private,
link-local and metadata addresses, other containers and this machine itself are not, except for the
name servers. The engine alone cannot bar them: even an internal network of its own reaches the
services of the machine.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.runtimes.docker_container import OUTBOUND
from agent.runtimes.docker_engine import Engine, EngineError

BRIDGE = "stoker-out"
CHAIN = "STOKER-OUT"
HOOKS = ("DOCKER-USER", "INPUT")
"""What is forwarded to elsewhere, and what is meant for this machine."""
BARRED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)
"""Private, shared, loopback, link-local (cloud metadata), benchmark, multicast and reserved (RFC
6890)."""
RESOLVERS = Path("/etc/resolv.conf")
SECONDS = 10.0
CONFLICT = 409

Rule = tuple[str, ...]


class NoNetwork(Exception):
    """The network cannot be had; the message says what to change."""


def rules(resolvers: Iterable[str], inward: bool) -> list[Rule]:
    """What the chain holds, in order. Pure. ``inward``: for what is meant for this machine."""
    found: list[Rule] = []
    for server in resolvers:
        for protocol in ("udp", "tcp"):
            found.append(("-d", server, "-p", protocol, "--dport", "53", "-j", "RETURN"))
    barred = ("0.0.0.0/0",) if inward else BARRED
    return [*found, *(("-d", place, "-j", "REJECT") for place in barred)]


def name_servers(text: str) -> list[str]:
    """The IPv4 ones of a ``resolv.conf`` that a container can reach. Pure."""
    found = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        try:
            address = ipaddress.ip_address(rest.strip())
        except ValueError:
            continue
        if word == "nameserver" and address.version == 4 and not address.is_loopback:
            found.append(str(address))
    return found


class Outbound:
    """The bridge and its rules, made where they are missing."""

    def __init__(self, engine: Engine, run: Callable[..., int] | None = None) -> None:
        self._engine = engine
        self._run = run or iptables

    def ensure(self) -> str:
        """The network's name. Raises ``NoNetwork``, and ``EngineError``."""
        if os.geteuid() != 0 or shutil.which("iptables") is None:
            raise NoNetwork(
                "network outbound needs an agent that runs as root on the machine itself, with"
                " iptables: use another pool, or network none or full"
            )
        self._make_network()
        resolvers = name_servers(RESOLVERS.read_text() if RESOLVERS.exists() else "")
        for hook in HOOKS:
            self._bar(hook, rules(resolvers, hook == "INPUT"))
        return OUTBOUND

    def _make_network(self) -> None:
        body = {
            "Name": OUTBOUND,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "Options": {
                "com.docker.network.bridge.name": BRIDGE,
                "com.docker.network.bridge.enable_icc": "false",
            },
        }
        try:
            self._engine.call("GET", f"/networks/{OUTBOUND}")
        except EngineError as error:
            if error.status != 404:
                raise
            try:
                self._engine.call("POST", "/networks/create", None, body)
            except EngineError as other:
                if other.status != CONFLICT:
                    raise

    def _bar(self, hook: str, wanted: list[Rule]) -> None:
        """The chain as it should be, called first. What is right already is left alone."""
        chain = f"{CHAIN}-{hook[:6]}"
        if all(self._run("-C", chain, *rule) == 0 for rule in wanted) and self._hooked(hook, chain):
            return
        self._run("-N", chain)
        self._run("-F", chain)
        for rule in wanted:
            self._must("-A", chain, *rule)
        if not self._hooked(hook, chain):
            self._must("-I", hook, "1", "-i", BRIDGE, "-j", chain)

    def _hooked(self, hook: str, chain: str) -> bool:
        return self._run("-C", hook, "-i", BRIDGE, "-j", chain) == 0

    def _must(self, *arguments: str) -> None:
        if self._run(*arguments) != 0:
            raise NoNetwork(
                "network outbound cannot be had on this worker: it refused iptables"
                f" {' '.join(arguments)}"
            )


def iptables(*arguments: str) -> int:
    """Its exit code; waits for whoever else changes the rules."""
    command = ["iptables", "-w", "5", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return -1
    return done.returncode
