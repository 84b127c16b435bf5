"""Does a folder become the bundle that its owner means?"""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker import packing
from stoker.cutting import cut_files
from stoker.packing import BIG_CHECKPOINT, BIG_FILE, PackingError, Plan, plan, told_size


def folder(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(made: Plan) -> list[str]:
    return [file.name for file in made.files]


RULES = [
    ("a plain file is sent", {"main.py": ""}, ["main.py"]),
    ("git's own folder is not", {"main.py": "", ".git/HEAD": ""}, ["main.py"]),
    ("a .venv without its mark is not", {"main.py": "", "a/.venv/x": ""}, ["main.py"]),
    ("compiled Python is not", {"main.py": "", "a/__pycache__/b.pyc": ""}, ["main.py"]),
    (
        ".gitignore is honoured and sent",
        {"main.py": "", ".gitignore": "*.log\nruns/\n", "x.log": "", "runs/1": ""},
        [".gitignore", "main.py"],
    ),
    (
        "a nested .gitignore speaks of its own folder",
        {"main.py": "", "a/.gitignore": "/b\n", "a/b": "", "b": ""},
        ["a/.gitignore", "b", "main.py"],
    ),
    (
        "a rule with ! takes back an earlier one",
        {".gitignore": "*.csv\n!keep.csv\n", "x.csv": "", "keep.csv": ""},
        [".gitignore", "keep.csv"],
    ),
    (
        ".stokerignore wins over .gitignore",
        {".gitignore": "data/\n", ".stokerignore": "!data/\nnotes\n", "data/x": "", "notes": ""},
        [".gitignore", ".stokerignore", "data/x"],
    ),
    (
        "a virtual environment of any name is left out",
        {"main.py": "", "mine/pyvenv.cfg": "", "mine/lib/x.py": ""},
        ["main.py"],
    ),
    (
        "unless it is asked for",
        {".stokerignore": "!mine/\n", "mine/pyvenv.cfg": ""},
        [".stokerignore", "mine/pyvenv.cfg"],
    ),
]


@pytest.mark.parametrize(("files", "sent"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_what_is_sent(tmp_path: Path, files: dict[str, str], sent: list[str]) -> None:
    assert names(plan(folder(tmp_path, files))) == sent


def test_what_is_skipped_is_told_with_its_reason(tmp_path: Path) -> None:
    made = plan(
        folder(tmp_path, {"main.py": "", ".gitignore": "*.log\n", "a.log": "", ".git/x": ""})
    )
    assert made.skipped == {".git/": "never wanted", "a.log": ".gitignore"}


def test_a_link_inside_the_folder_is_sent_as_the_file_that_it_names(tmp_path: Path) -> None:
    folder(tmp_path, {"real.py": "print(1)"})
    (tmp_path / "main.py").symlink_to("real.py")
    cut = cut_files(plan(tmp_path).files)
    assert [(file.name, file.size) for file in cut.files] == [("main.py", 8), ("real.py", 8)]
    assert cut.files[0].digest == cut.files[1].digest


def test_links_elsewhere_are_skipped(tmp_path: Path) -> None:
    root = folder(tmp_path / "job", {"main.py": "", "a/x": ""})
    (tmp_path / "secret").write_text("")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "dead").symlink_to("nothing")
    (root / "folder").symlink_to("a")
    made = plan(root)
    assert names(made) == ["a/x", "main.py"]
    assert set(made.skipped) == {"out", "dead", "folder"}


def test_big_files_and_checkpoints_are_warned_of(tmp_path: Path) -> None:
    folder(tmp_path, {"main.py": ""})
    for name, size in (("model.pt", BIG_CHECKPOINT), ("data.csv", BIG_FILE), ("small.pt", 10)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    assert plan(tmp_path).warnings == [
        "data.csv is big (50.0 MiB)",
        "model.pt looks like a checkpoint (5.0 MiB)",
    ]


def test_a_git_folder_that_is_asked_for_is_warned_of(tmp_path: Path) -> None:
    made = plan(folder(tmp_path, {".stokerignore": "!.git/\n", ".git/HEAD": ""}))
    assert made.warnings == [".git/ is part of the bundle"]


@pytest.mark.parametrize("files", [{}, {".git/HEAD": ""}])
def test_a_folder_with_nothing_to_send_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(PackingError, match="holds no file to send"):
        plan(folder(tmp_path, files))


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="is not a folder"):
        plan(tmp_path / "nothing")


def test_files_keep_whether_they_can_be_run(tmp_path: Path) -> None:
    folder(tmp_path, {"main.py": "print(1)", "run.sh": "#!/bin/sh"})
    (tmp_path / "run.sh").chmod(0o700)
    cut = cut_files(plan(tmp_path).files)
    assert [(file.name, file.mode) for file in cut.files] == [("main.py", 0o644), ("run.sh", 0o755)]


def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    made = plan(folder(tmp_path, {"main.py": "x" * 3_000_000, "b": "y"}))
    read: list[int] = []
    cut_files(made.files, None, read.append)
    assert read == sorted(read)
    assert read[-1] == made.size == 3_000_001


def test_the_biggest_files_are_named_first(tmp_path: Path) -> None:
    made = plan(folder(tmp_path, {f"f{n}": "x" * n**6 for n in range(9)}))
    assert [file.name for file in made.biggest] == ["f8", "f7", "f6", "f5"]


def test_more_files_than_a_server_takes_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_FILES", 3)
    with pytest.raises(PackingError, match="more than 3 files: pack many small ones into one"):
        plan(folder(tmp_path, dict.fromkeys("abcd", "")))


def test_a_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    folder(tmp_path, {"main.py": ""})
    (tmp_path / "caf\udce9").touch()
    with pytest.raises(PackingError, match="is not UTF-8: rename the file"):
        plan(tmp_path)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1.0 MiB"), (5 << 40, "5120.0 GiB")]
)
def test_sizes_are_told(size: int, text: str) -> None:
    assert told_size(size) == text
