"""How are servers on one machine cut off from each other, while their clients still reach them?

Each has a network namespace of its own with two links: one for clients, one for the other servers.
The bridges lie in a namespace too, where no firewall of the machine's looks at what passes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SECONDS = 20.0
HOST = 254
"""Last byte of this machine's address."""


@dataclass(frozen=True)
class Switch:
    """Two bridges, and what hangs on them."""

    names: Sequence[str]

    @property
    def space(self) -> str:
        return f"stks{os.getpid()}"

    def space_of(self, name: str) -> str:
        return f"{self.space}-{self.names.index(name)}"

    def enter(self, name: str) -> tuple[str, ...]:
        """What starts a command where the server is."""
        return ("nsenter", f"--net=/run/netns/{self.space_of(name)}")

    def client_address(self, name: str) -> str:
        return f"{self._clients}.{self.names.index(name) + 1}"

    def route_address(self, name: str) -> str:
        return f"10.218.0.{self.names.index(name) + 1}"

    @property
    def _clients(self) -> str:
        return f"10.217.{2 + os.getpid() % 250}"

    @property
    def _link(self) -> str:
        """This machine's end of its way in."""
        return f"stkh{os.getpid()}"

    def cut(self, *names: str) -> None:
        """From all other servers; nothing is refused, it only does not arrive."""
        self._set(names, "down")

    def mend(self, *names: str) -> None:
        self._set(names, "up")

    def _set(self, names: Sequence[str], state: str) -> None:
        for name in names:
            ip("-n", self.space, "link", "set", f"r{self.names.index(name)}", state)

    def build(self) -> None:
        ip("netns", "add", self.space)
        for bridge in ("clients", "routes"):
            ip("-n", self.space, "link", "add", bridge, "type", "bridge")
            ip("-n", self.space, "link", "set", bridge, "up")
        ours = self._link
        ip("link", "add", ours, "type", "veth", "peer", "host", "netns", self.space)
        ip("addr", "add", f"{self._clients}.{HOST}/24", "dev", ours)
        ip("link", "set", ours, "up")
        self._plug("host", "clients")
        for number, name in enumerate(self.names):
            ip("netns", "add", self.space_of(name))
            ip("-n", self.space_of(name), "link", "set", "lo", "up")
            self._join(name, f"c{number}", "clients", self.client_address(name))
            self._join(name, f"r{number}", "routes", self.route_address(name))

    def _join(self, name: str, link: str, bridge: str, address: str) -> None:
        inside = self.space_of(name)
        ip("-n", self.space, "link", "add", link, "type", "veth", "peer", bridge, "netns", inside)
        ip("-n", inside, "addr", "add", f"{address}/24", "dev", bridge)
        ip("-n", inside, "link", "set", bridge, "up")
        self._plug(link, bridge)

    def _plug(self, link: str, bridge: str) -> None:
        ip("-n", self.space, "link", "set", link, "master", bridge, "up")

    def remove(self) -> None:
        """With a namespace go the links in it and their other ends, but only some time later."""
        with contextlib.suppress(subprocess.SubprocessError):
            ip("link", "del", self._link)
        for space in (self.space, *map(self.space_of, self.names)):
            with contextlib.suppress(subprocess.SubprocessError):
                ip("netns", "del", space)


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, timeout=SECONDS)


@contextlib.contextmanager
def switch(names: Sequence[str]) -> Iterator[Switch]:
    built = Switch(names)
    try:
        built.build()
        yield built
    finally:
        built.remove()
