"""Do the files in deploy/ fit what Stoker does?"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from bus.server import ServerConfig, write_config
from stoker.commands.join import NAMES
from stoker.config import read_agent_file
from stoker.parts import RUNNERS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = (DEPLOY / "compose.yaml").read_text()
TLS = (DEPLOY / "tls.compose.yaml").read_text()
IDENTITIES = (DEPLOY / "identities.compose.yaml").read_text()


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def test_the_example_of_an_agents_file_is_accepted() -> None:
    table = read_agent_file(DEPLOY / "agent.example.toml")
    assert table["runtime"] == "docker"
    assert table["capacity"]["slots"] == 8


@pytest.mark.parametrize(
    "setting",
    [
        "max_payload: 1048576",
        'ping_interval: "2s"',
        "ping_max: 2",
        "js_ack_fc_v2: false",
        "sync_interval: always",
        "default_max_consumers: 20000",
    ],
)
def test_nats_is_set_up_like_the_embedded_one(setting: str, tmp_path: Path) -> None:
    embedded = write_config(ServerConfig(tmp_path), 4222).read_text()
    assert setting in embedded
    assert setting in (DEPLOY / "nats.conf").read_text()


def test_stoker_serve_names_every_service_that_stoker_up_runs() -> None:
    assert sorted(NAMES) == sorted((*RUNNERS, "ui"))


def test_every_service_is_in_the_compose_file() -> None:
    for name in NAMES:
        assert f'["serve", "{name}"' in (IDENTITIES if name == "identity" else COMPOSE)


def test_with_identities_every_service_has_credentials_of_its_own() -> None:
    for name in NAMES:
        assert f"/{name}.creds:/run/stoker.creds:ro" in IDENTITIES


def test_with_tls_every_service_knows_who_vouches_for_nats() -> None:
    for name in NAMES:
        service = TLS.partition(f"\n  {name}:\n")[2].partition("\n\n")[0]
        assert "*tls" in service or "*environment" in service, name


def test_the_page_is_plain_only_where_its_port_is_this_machines() -> None:
    assert '"--plain-http"' in COMPOSE
    assert "--plain-http" not in TLS


def test_the_work_directory_is_the_same_inside_and_outside() -> None:
    for file in DEPLOY.glob("*compose.yaml"):
        mounts = re.findall(
            r"- (\$\{STOKER_WORK:-[^}]+\}):(\$\{STOKER_WORK:-[^}]+\})", file.read_text()
        )
        assert mounts or file.name in ("identities.compose.yaml", "tls.compose.yaml")
        assert all(outside == inside for outside, inside in mounts)


def test_nothing_listens_beyond_this_machine_by_default() -> None:
    ports = re.findall(r"ports:\n\s+- (\S+)", COMPOSE)
    assert ports
    assert all(port.startswith("${STOKER_ADDRESS:-127.0.0.1}:") for port in ports)


def test_restarting_the_agents_unit_leaves_the_shims() -> None:
    service = unit(DEPLOY / "systemd" / "stoker-agent.service")["Service"]
    assert (service["KillMode"], service["KillSignal"]) == ("process", "SIGHUP")
    assert "\nSTOPSIGNAL SIGHUP\n" in (DEPLOY / "agent.Dockerfile").read_text()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_what_exists_and_start_it_again(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["ExecStart"].startswith("/opt/stoker/bin/")
    assert service["Restart"] == "always"
    assert service["User"] == "stoker"
