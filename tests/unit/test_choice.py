"""What a bundle says about its environment, and what the engine gets of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from agent.runtimes.build_context import folder_context
from agent.runtimes.choice import CannotRead, choose


def bundle(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_a_dockerfile_wins_where_it_can_be_used(tmp_path: Path) -> None:
    made = bundle(tmp_path, Dockerfile="FROM x", requirements_txt="six")
    assert choose(made).source == "Dockerfile"
    assert choose(made, dockerfile=False).source == "requirements.txt"


def test_requirements_win_over_a_project(tmp_path: Path) -> None:
    made = bundle(tmp_path, requirements_txt="six", pyproject_toml="[project]\n")
    assert choose(made).source == "requirements.txt"


def test_included_requirements_belong_to_the_environment(tmp_path: Path) -> None:
    made = bundle(tmp_path, requirements_txt="-r more.txt\n--constraint=pins.txt\n")
    bundle(made, more_txt="six\n", pins_txt="six==1.17.0\n")
    choice = choose(made)
    assert sorted(choice.files) == ["more.txt", "pins.txt", "requirements.txt"]
    assert not choice.whole


def test_requirements_may_include_each_other(tmp_path: Path) -> None:
    made = bundle(tmp_path, requirements_txt="-r more.txt\n", more_txt="-r requirements.txt\n")
    assert sorted(choose(made).files) == ["more.txt", "requirements.txt"]


@pytest.mark.parametrize(
    "line", [".", "-e .", "./wheels/x.whl", "--find-links wheels", "file:./x", "--editable=."]
)
def test_requirements_that_name_local_code_need_the_whole_bundle(tmp_path: Path, line: str) -> None:
    assert choose(bundle(tmp_path, requirements_txt=f"six\n{line}\n")).whole


@pytest.mark.parametrize(
    "line", ["six", "six @ https://x.example/six.whl", "--index-url https://x"]
)
def test_other_requirements_do_not(tmp_path: Path, line: str) -> None:
    assert not choose(bundle(tmp_path, requirements_txt=line)).whole


def test_an_include_that_is_missing_is_named(tmp_path: Path) -> None:
    made = bundle(tmp_path, requirements_txt="-r gone.txt\n")
    with pytest.raises(CannotRead, match=r"gone\.txt is named"):
        choose(made)


def test_an_include_outside_of_the_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("six")
    (tmp_path / "job").mkdir()
    with pytest.raises(CannotRead):
        choose(bundle(tmp_path / "job", requirements_txt="-r ../secret.txt\n"))


def test_a_projects_dependencies_are_its_requirements(tmp_path: Path) -> None:
    made = bundle(tmp_path, pyproject_toml="[project]\ndependencies = ['six', 'attrs>=1']\n")
    assert choose(made).files == {"requirements.txt": b"six\nattrs>=1\n"}


@pytest.mark.parametrize("text", ["[tool.ruff]\n", "[project]\nname = 'x'\n"])
def test_a_project_without_dependencies_is_plain_python(tmp_path: Path, text: str) -> None:
    assert choose(bundle(tmp_path, pyproject_toml=text)).source == "python"


def test_a_project_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match=r"pyproject\.toml cannot be read"):
        choose(bundle(tmp_path, pyproject_toml="[project\n"))


def test_a_context_is_the_whole_bundle_with_the_template_on_top(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.bin").write_bytes(b"x" * 1000)
    tar = b"".join(folder_context(tmp_path, {"Template": b"FROM y"}))
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert archive.getnames() == ["deep", "deep/x.bin", "Template"]
        found = archive.extractfile("deep/x.bin")
        assert found is not None
        assert found.read() == b"x" * 1000


LOCK = "version = 1\nrequires-python = '>=3.9'\n"
ROOT = "[[package]]\nname = 'x'\nversion = '1'\nsource = { virtual = '.' }\n"
SIX = "[[package]]\nname = 'six'\nversion = '1.17.0'\nsource = { registry = 'https://i/simple' }\n"
MEMBER = "[[package]]\nname = 'y'\nversion = '1'\nsource = { editable = 'packages/y' }\n"
BESIDE = "[[package]]\nname = 'z'\nversion = '1'\nsource = { directory = '../z' }\n"
PROJECT = "[project]\nname = 'x'\nversion = '1'\ndependencies = ['six']\n"


def test_a_lock_wins_over_requirements_and_says_so(tmp_path: Path) -> None:
    made = bundle(tmp_path, uv_lock=LOCK + ROOT + SIX, pyproject_toml=PROJECT)
    bundle(made, requirements_txt="attrs\n", environment_yml="dependencies: [python]\n")
    choice = choose(made)
    assert (choice.source, sorted(choice.files)) == ("uv.lock", ["pyproject.toml", "uv.lock"])
    assert not choice.whole
    assert "requirements.txt and environment.yml are not used" in choice.because


@pytest.mark.parametrize(
    ("packages", "source", "whole"),
    [(ROOT, "python", False), (ROOT + SIX, "uv.lock", False), (SIX + MEMBER, "uv.lock", True)],
    ids=["itself", "packages", "members"],
)
def test_what_a_lock_needs_of_the_bundle(
    tmp_path: Path, packages: str, source: str, whole: bool
) -> None:
    project = PROJECT if source != "python" else "[project]\nname = 'x'\n"
    choice = choose(bundle(tmp_path, uv_lock=LOCK + packages, pyproject_toml=project))
    assert (choice.source, choice.whole) == (source, whole)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"uv_lock": LOCK + SIX}, "send both"),
        ({"uv_lock": "[[", "pyproject_toml": PROJECT}, "uv.lock cannot be read"),
        ({"uv_lock": "package = [1]", "pyproject_toml": PROJECT}, "uv.lock cannot be read"),
        ({"uv_lock": LOCK + BESIDE, "pyproject_toml": PROJECT}, "outside of the bundle"),
    ],
    ids=["alone", "torn", "odd", "outside"],
)
def test_a_lock_that_cannot_be_used_is_said(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(CannotRead, match=words):
        choose(bundle(tmp_path, **files))


@pytest.mark.parametrize(
    ("name", "line", "whole"),
    [
        ("environment_yml", "  - six", False),
        ("environment_yaml", "      - six==1.17.0", False),
        ("environment_yml", "      - -r requirements.txt", True),
        ("environment_yml", "      - '-e .'", True),
        ("environment_yml", "      - ./wheels/x.whl", True),
        ("environment_yml", "      - .", True),
    ],
)
def test_an_environment_yml_is_used_before_a_project(
    tmp_path: Path, name: str, line: str, whole: bool
) -> None:
    text = f"dependencies:\n  - python=3.12\n  - pip:\n{line}\n"
    choice = choose(bundle(tmp_path, **{name: text}, pyproject_toml=PROJECT))
    assert (choice.source, choice.whole) == ("environment.yml", whole)
    assert choice.files == {"environment.yml": text.encode()}


def test_requirements_win_over_an_environment_yml(tmp_path: Path) -> None:
    choice = choose(bundle(tmp_path, requirements_txt="six", environment_yml="dependencies: []"))
    assert choice.source == "requirements.txt"
    assert choice.because.endswith("its environment.yml is not used")
