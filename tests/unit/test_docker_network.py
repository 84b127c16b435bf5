"""Tests of the networks of containers: which rules bar what."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_network import BARRED, CHAIN, NoNetwork, Outbound, name_servers, rules


@pytest.mark.parametrize(
    ("address", "barred"),
    [
        ("10.1.2.3", True),
        ("172.17.0.1", True),
        ("172.31.255.255", True),
        ("192.168.1.1", True),
        ("169.254.169.254", True),
        ("100.100.100.200", True),
        ("127.0.0.1", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("1.1.1.1", False),
        ("172.32.0.1", False),
        ("203.0.113.80", False),
    ],
)
def test_private_and_metadata_addresses_are_barred(address: str, barred: bool) -> None:
    networks = [ipaddress.ip_network(place) for place in BARRED]
    assert any(ipaddress.ip_address(address) in network for network in networks) == barred


def test_name_servers_are_let_through_first_and_nothing_else_of_this_machine() -> None:
    inward = rules(["10.0.0.2"], inward=True)
    assert [rule[-1] for rule in inward] == ["RETURN", "RETURN", "REJECT"]
    assert inward[-1][:2] == ("-d", "0.0.0.0/0")
    assert rules([], inward=False)[0] == ("-d", BARRED[0], "-j", "REJECT")


def test_name_servers_that_a_container_can_reach() -> None:
    lines = (
        "# x",
        "nameserver 127.0.0.53",
        "nameserver 10.0.0.2",
        "search x",
        "nameserver fe80::1",
    )
    text = "\n".join((*lines, "nameserver", ""))
    assert name_servers(text) == ["10.0.0.2"]


class Filter:
    """What ``iptables`` would answer."""

    def __init__(self, holds: bool) -> None:
        self.holds = holds
        self.changed: list[tuple[str, ...]] = []

    def run(self, *arguments: str) -> int:
        if arguments[0] == "-C":
            return 0 if self.holds else 1
        self.changed.append(arguments)
        return 0


def test_rules_that_are_there_are_left_alone() -> None:
    packets = Filter(holds=True)
    Outbound(Engine(), packets.run)._bar("INPUT", rules([], True))
    assert packets.changed == []


def test_rules_that_are_missing_are_made_anew_before_the_hook() -> None:
    packets = Filter(holds=False)
    Outbound(Engine(), packets.run)._bar("INPUT", rules([], True))
    assert [change[0] for change in packets.changed] == ["-N", "-F", "-A", "-I"]
    assert packets.changed[0][1] == f"{CHAIN}-INPUT"


def test_rules_that_are_refused_are_said() -> None:
    with pytest.raises(NoNetwork, match="iptables"):
        Outbound(Engine(), lambda *arguments: 1)._bar("INPUT", rules([], True))


def test_an_engine_that_is_not_there_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"iptables|does not answer"):
        Outbound(Engine(str(tmp_path / "no.sock"))).ensure()
