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
