"""What people write for data, where it may lie, and by which variable a program finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.data_places import data_variables, link_data, make_mount_points
from agent.data_rules import DataRules, NoData, Place, check_room, check_source, host_place
from agent.data_sources import options
from agent.disk import DiskBounds
from agent.folder import AttemptFolder
from schemas.data import DataMount, variables
from schemas.reason import Reason
from schemas.spec import InvalidSpec, read_spec
from stoker.datasets import mount_path


def mount(text: str) -> DataMount:
    return DataMount.model_validate(text)


@pytest.mark.parametrize(
    ("text", "name", "owner", "version", "source", "path"),
    [
        ("imagenet", "imagenet", "", None, "", "/data/imagenet"),
        ("ana/imagenet@v3:/data/x", "imagenet", "ana", 3, "", "/data/x"),
        ("imagenet@12:/job/data", "imagenet", "", 12, "", "/job/data"),
        ("hf://datasets/a/b@main:/data/b", "", "", None, "hf://datasets/a/b@main", "/data/b"),
        ("https://h:8080/a.zip:/data/a", "", "", None, "https://h:8080/a.zip", "/data/a"),
        ("s3://bucket/a/b:/data/b", "", "", None, "s3://bucket/a/b", "/data/b"),
        ("host:/mnt/x:/data/x", "", "", None, "host:/mnt/x", "/data/x"),
    ],
    ids=["name", "all", "in-the-job", "hf", "port", "s3", "host"],
)
def test_data_is_written_short(
    text: str, name: str, owner: str, version: int | None, source: str, path: str
) -> None:
    found = mount(text)
    assert (found.name, found.owner, found.version) == (name, owner, version)
    assert (found.source, found.path) == (source, path)
    assert DataMount.model_validate(found.model_dump()) == found
    assert mount_path(text) == path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ImageNet", "is no dataset's name"),
        ("a/b/c", "is no data: write NAME"),
        ("a@x", "is no data: write NAME"),
        ("a:/etc/passwd", "no data can lie at /etc/passwd"),
        ("a:/job", "no data can lie at /job"),
        ("a:/outputs/a", "no data can lie at /outputs/a"),
        ("a:/data/../etc", "is no place for data"),
        ("https://x/y", "say where it is to be found"),
        ("ftp://x/y:/data/y", "is no source"),
        ("https://me:pass@x/y:/data/y", "a source holds no password"),
        ("host:/a/../b:/data/b", "an absolute path of the worker"),
    ],
    ids=["case", "parts", "version", "etc", "job", "outputs", "dots", "place", "ftp", "pass", "up"],
)
def test_what_is_no_data_is_told_so(text: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        mount(text)


def test_mounts_within_one_another_and_too_many_of_them_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="/data/a/b and /data/a lie within one another"):
        read_spec({"data": ["a", "b:/data/a/b"]})
    with pytest.raises(InvalidSpec, match="data"):
        read_spec({"data": [f"a{n}" for n in range(17)]})


def test_a_variable_names_each_of_them() -> None:
    mounts = [mount(one) for one in ("a-b@1:/data/one", "a-b@2:/data/two", "c", "s3://b/x:/data/x")]
    assert {name: one.path for name, one in variables(mounts).items()} == {
        "STOKER_DATA_ONE": "/data/one",
        "STOKER_DATA_TWO": "/data/two",
        "STOKER_DATA_C": "/data/c",
        "STOKER_DATA_X": "/data/x",
    }
    assert data_variables(mounts[2:3], "/w/job") == {"STOKER_DATA_C": "/w/job/data/c"}


def test_a_process_finds_links_in_its_folder_and_a_container_has_places_for_mounts(
    tmp_path: Path,
) -> None:
    source = tmp_path / "kept"
    source.mkdir()
    folder = AttemptFolder(tmp_path / "attempt")
    folder.job.mkdir(parents=True)
    places = [Place(mount("a"), source), Place(mount("b:/job/in/b"), source)]
    make_mount_points(folder, places)
    assert [one.name for one in folder.job.rglob("*")] == ["in", "b"]
    with pytest.raises(NoData, match="cannot lie at /job/in/b") as refused:
        link_data(folder, places)
    assert refused.value.reason is Reason.BUILD_FAILED
    assert (folder.job / "data/a").resolve() == source


def test_a_folder_of_the_machine_is_given_only_from_within_what_is_allowed(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    (allowed / "set").mkdir(parents=True)
    other.mkdir()
    (allowed / "out").symlink_to(other)
    rules = DataRules(paths=(allowed,))
    assert host_place(mount(f"host:{allowed}/set:/data/s"), rules).source == allowed / "set"
    for path in (other, allowed / "out"):
        with pytest.raises(NoData, match="does not give"):
            host_place(mount(f"host:{path}:/data/s"), rules)
    with pytest.raises(NoData, match="there is no"):
        host_place(mount(f"host:{allowed}/gone:/data/s"), rules)
    with pytest.raises(NoData, match="its folders for them: none"):
        host_place(mount(f"host:{allowed}:/data/s"), DataRules())


def test_an_admin_says_where_data_comes_from() -> None:
    some = DataRules(sources=("s3://ours/",))
    check_source(mount("s3://ours/x:/data/x"), some)
    check_source(mount("s3://theirs/x:/data/x"), DataRules())
    with pytest.raises(NoData, match="it fetches from s3://ours/"):
        check_source(mount("s3://theirs/x:/data/x"), some)
    with pytest.raises(NoData, match="without TLS"):
        check_source(mount("http://x/y:/data/x"), DataRules())


def test_a_source_is_asked_with_what_the_job_has_and_nothing_of_the_workers_own() -> None:
    given = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": "http://x"}
    s3 = mount("s3://b/x:/data/x")
    assert options(s3, {}, DataRules()) == {"anon": True}
    asked = options(s3, given, DataRules())
    assert asked == {"key": "k", "secret": "s", "anon": False, "endpoint_url": "http://x"}
    closed = options(s3, given, DataRules(sources=("s3://b/",), s3_endpoint="https://ours"))
    assert closed["endpoint_url"] == "https://ours"
    assert "endpoint_url" not in options(s3, given, DataRules(sources=("s3://b/",)))
    assert options(mount("hf://a/b:/data/x"), {"HF_TOKEN": "t"}, DataRules()) == {"token": "t"}
    assert options(mount("hf://a/b:/data/x"), {}, DataRules()) == {"token": False}


def test_what_the_disk_has_no_room_for_is_told_before_it_is_fetched() -> None:
    bounds = DiskBounds(floor=1 << 20)
    check_room(mount("a"), 1 << 20, 4 << 20, bounds)
    with pytest.raises(NoData, match=r"has 3\.0 MiB, and .* has room for 2\.0 MiB") as refused:
        check_room(mount("a"), 3 << 20, 4 << 20, bounds)
    assert refused.value.reason is Reason.DISK_FULL
