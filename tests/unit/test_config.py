"""Are files and the environment read strictly?"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from stoker import agents, config
from stoker.answers import StokerError

BAD_FILES = [
    ("name = 'x'", r"has no table \[agent\]"),
    ("[agent", "is not TOML"),
    ("[agent]\nnmae = 'x'", r"\[agent\] has no field 'nmae'; known are"),
    ("[agent.capacity]\ncores = 1", r"\[agent.capacity\] has no field 'cores'"),
]


@pytest.mark.parametrize(("text", "told"), BAD_FILES)
def test_a_bad_agent_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(StokerError, match=told):
        config.read_agent_file(file)


def test_the_data_folder_is_the_flag_then_the_environment_then_the_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STOKER_DATA", "/b")
    assert config.data_folder(Path("/a")) == Path("/a")
    assert config.data_folder() == Path("/b")
    monkeypatch.delenv("STOKER_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/c")
    assert config.data_folder() == Path("/c/stoker")


def test_the_address_of_a_running_stoker_is_found(tmp_path: Path) -> None:
    address = config.Address("http://127.0.0.1:1", "nats://127.0.0.1:2", os.getpid())
    config.write_address(tmp_path, address)
    assert config.read_address(tmp_path) == address


def test_a_data_folder_that_may_not_be_read_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refused)
    assert config.read_address(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"url": "a", "nats": "b", "pid": 99999999}'])
def test_one_that_is_gone_is_not(tmp_path: Path, text: str) -> None:
    (tmp_path / config.ADDRESS_FILE).write_text(text)
    assert config.read_address(tmp_path) is None


async def test_what_is_kept_of_outputs_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[agent]\nruntime = 'process'\nkeep_outputs = '3g'\n")
    flags = agents.AgentFlags.over(config.read_agent_file(file))
    assert (await agents.agent_config(flags, tmp_path)).outputs.size == 3 << 30


async def test_a_registry_and_what_is_kept_of_downloads_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "logins.json").write_text('{"auths": {}}')
    file = tmp_path / "agent.toml"
    file.write_text(
        "[agent]\nruntime = 'process'\nregistry = 'registry.example:5000/env'\n"
        f"registry_credentials = '{tmp_path}/logins.json'\npackage_cache = '3g'\n"
        "docker_command = ''\n"
    )
    flags = agents.AgentFlags.over(config.read_agent_file(file))
    made = await agents.agent_config(flags, tmp_path)
    assert (made.registry, made.package_cache) == ("registry.example:5000/env", 3 << 30)
    assert (made.registry_credentials, made.docker_command) == (tmp_path / "logins.json", "")
    none = agents.AgentFlags(runtime="process")
    assert (await agents.agent_config(none, tmp_path)).package_cache == 10 << 30


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"registry": "team/env"}, "write HOST/PATH"),
        ({"registry": "https://registry.example"}, "write HOST/PATH"),
        ({"registry_credentials": Path("none.json")}, "registry_credentials: .*cannot be read"),
        ({"package_cache": "much"}, "package_cache: 'much' is not a size"),
    ],
    ids=["no host", "address", "no file", "no size"],
)
async def test_a_registry_that_cannot_be_is_refused_at_the_start(
    tmp_path: Path, flags: dict[str, Any], told: str
) -> None:
    with pytest.raises(StokerError, match=told):
        await agents.agent_config(agents.AgentFlags(runtime="process", **flags), tmp_path)


def test_what_is_kept_may_be_kept_for_ever_and_not_at_all() -> None:
    for asked, seconds in ((None, None), ("forever", math.inf), ("0", 0.0), ("90d", 90 * 86_400.0)):
        assert config.kept("--keep-checkpoints", asked) == seconds
    with pytest.raises(StokerError, match=r"--keep-checkpoints never: .*, or forever"):
        config.kept("--keep-checkpoints", "never")
