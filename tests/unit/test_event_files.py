"""What TensorBoard's writers write is read as it grows; what is damaged costs itself alone."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboardX import SummaryWriter
from tensorboardX.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2

from schemas.metric_head import FileCursor
from schemas.metrics import Points
from schemas.outputs import Manifest, OutputFile
from services.metrics.event_files import MOST_FILES, cursors_of, event_files
from services.metrics.tensorboard import (
    RECORD_MOST,
    Reading,
    checksum,
    is_event_file,
    read_events,
    series_name,
)

FLOAT, DOUBLE, INT32, STRING, INT64, BFLOAT16, HALF = 1, 2, 3, 7, 9, 14, 19
Rows = list[tuple[int, float]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """As a training leaves them: two writers, and more than scalars."""
    for name, factor in (("train", 1.0), ("valid", 2.0)):
        with SummaryWriter(str(tmp_path / "runs" / name)) as writer:
            writer.add_text("notes", "a text is no number")
            for step in range(20):
                writer.add_scalar("loss", factor / (step + 1), step, walltime=1000.0 + step)
                writer.add_scalar("a/b", float(step), step * 10)
            writer.add_histogram("weights", [1.0, 2.0, 3.0], 3)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if is_event_file(path.name))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def rows(points: Points) -> Rows:
    return list(zip(points.steps, points.values, strict=True))


def framed(record: bytes) -> bytes:
    head = struct.pack("<Q", len(record))
    return b"".join(
        (head, struct.pack("<I", checksum(head)), record, struct.pack("<I", checksum(record)))
    )


def event(step: int = 1, time: float = 5.0, **value: object) -> bytes:
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value)])
    packed: bytes = event_pb2.Event(wall_time=time, step=step, summary=summary).SerializeToString()
    return packed


def test_what_a_real_writer_wrote_is_read_with_its_folder(runs: Path) -> None:
    found = {}
    for path, data in files(runs).items():
        by_tag, state = read_events(data)
        assert (state.offset, state.damaged) == (len(data), 0)
        found |= {series_name(path, tag): points for tag, points in by_tag.items()}
    assert sorted(found) == [
        "runs/train/a/b", "runs/train/loss", "runs/valid/a/b", "runs/valid/loss",
    ]  # fmt: skip
    loss = found["runs/train/loss"]
    assert list(loss.steps) == list(range(20))
    assert list(loss.times) == [1000.0 + step for step in range(20)]
    assert loss.values[3] == pytest.approx(0.25)


def test_a_file_in_the_outputs_top_folder_has_the_tag_for_its_name() -> None:
    assert series_name("events.out.tfevents.1.host", "loss") == "loss"
    assert is_event_file("a/events.out.tfevents.1.host.0")
    assert not is_event_file("tfevents/notes.txt")


def test_odd_values_and_steps_that_go_backwards_are_kept(tmp_path: Path) -> None:
    told = [(5, math.nan), (3, math.inf), (-1, -math.inf), (5, 1.0)]
    with SummaryWriter(str(tmp_path)) as writer:
        for step, value in told:
            writer.add_scalar("x", value, step)
    (data,) = files(tmp_path).values()
    assert str(rows(read_events(data)[0]["x"])) == str(told)


def tensors() -> Iterator[tuple[str, dict[str, object], float | None]]:
    one = tensor_shape_pb2.TensorShapeProto
    dim = one.Dim
    yield "float_val", {"dtype": FLOAT, "float_val": [0.5]}, 0.5
    yield "content", {"dtype": FLOAT, "tensor_content": struct.pack("<f", 0.5)}, 0.5
    yield "double", {"dtype": DOUBLE, "double_val": [0.1]}, 0.1
    yield "whole", {"dtype": INT64, "int64_val": [-7]}, -7.0
    yield "int32", {"dtype": INT32, "int_val": [-7]}, -7.0
    yield "half", {"dtype": HALF, "half_val": [0x3800]}, 0.5
    yield "bfloat", {"dtype": BFLOAT16, "tensor_content": b"\x00\x3f"}, 0.5
    yield "shape", {"dtype": FLOAT, "float_val": [2], "tensor_shape": one(dim=[dim(size=1)])}, 2.0
    yield (
        "many",
        {"dtype": FLOAT, "float_val": [1, 2], "tensor_shape": one(dim=[dim(size=2)])},
        None,
    )
    yield "text", {"dtype": STRING, "string_val": [b"x"]}, None
    yield "short", {"dtype": FLOAT, "tensor_content": b"\0\0"}, None
    yield "nothing", {"dtype": FLOAT}, None


@pytest.mark.parametrize(
    ("tensor", "value"), [one[1:] for one in tensors()], ids=[one[0] for one in tensors()]
)
def test_a_scalar_of_the_newer_kind_is_a_tensor_of_one_number(
    tensor: dict[str, object], value: float | None
) -> None:
    made = tensor_pb2.TensorProto(**tensor)
    found, state = read_events(framed(event(tag="epoch_loss", tensor=made)))
    assert state.damaged == 0
    assert (rows(found["epoch_loss"]) if found else None) == ([(1, value)] if value else None)


def test_tensors_of_other_plugins_are_no_scalars() -> None:
    plugin = summary_pb2.SummaryMetadata.PluginData
    tensor = tensor_pb2.TensorProto(dtype=FLOAT, float_val=[1.0])
    for name, known in (("scalars", True), ("hparams", False)):
        metadata = summary_pb2.SummaryMetadata(plugin_data=plugin(plugin_name=name))
        found, _ = read_events(framed(event(tag="x", tensor=tensor, metadata=metadata)))
        assert ("x" in found) is known


@pytest.mark.parametrize("pause", [1, 7, 100])
def test_a_file_that_grows_is_read_once_and_a_torn_end_waits(runs: Path, pause: int) -> None:
    data = files(runs)["runs/train/" + next(iter(files(runs / "runs/train")))]
    whole, _ = read_events(data)
    state, found = Reading(), Points()
    for end in (*range(0, len(data), pause), len(data)):
        new, state = read_events(data[state.offset : end], state)
        if "loss" in new:
            found.extend(new["loss"])
    assert (state.offset, state.damaged) == (len(data), 0)
    assert rows(found) == rows(whole["loss"])


def test_a_damaged_byte_costs_one_record(runs: Path) -> None:
    data = framed(b"") + b"".join(
        framed(event(step=step, tag="loss", simple_value=step)) for step in range(1, 30)
    )
    for place in range(16, len(data), 3):
        broken = bytearray(data)
        broken[place] ^= 0x55
        found, state = read_events(bytes(broken))
        assert state.damaged == 1, place
        steps = list(found["loss"].steps)
        assert len(steps) == 28, place
        assert set(steps) < set(range(1, 30))


def test_what_is_damaged_is_passed_over_however_the_file_comes() -> None:
    good = framed(event(tag="x", simple_value=1))
    data = good + bytes(100_000) + b"\x01garbage" * 50 + good
    state, count = Reading(), 0
    for end in (*range(0, len(data), 4096), len(data)):
        found, state = read_events(data[state.offset : end], state)
        count += sum(map(len, found.values()))
    assert (count, state.damaged, state.offset) == (2, 1, len(data))


def test_a_record_with_pictures_is_passed_over_unread() -> None:
    big = framed(b"\0" * (RECORD_MOST + 1))
    good = framed(event(tag="x", simple_value=1))
    found, state = read_events(big[:100])
    assert (found, state) == ({}, Reading(len(big)))
    found, state = read_events((big + good)[state.offset :], state)
    assert rows(found["x"]) == [(1, 1.0)]


@pytest.mark.parametrize(
    "record",
    [
        b"\x09\0\0\0",
        b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff" * 20,
        event(time=math.nan, tag="x", simple_value=1),
        b"\x0b",
    ],
    ids=["short", "long", "endless", "no-time", "group"],
)
def test_a_record_that_is_no_event_is_counted(record: bytes) -> None:
    found, state = read_events(framed(record) + framed(event(tag="x", simple_value=1)))
    assert (list(found), state.damaged) == (["x"], 1)


@given(st.binary(max_size=400), st.integers(min_value=1, max_value=50))
def test_whatever_the_bytes_are_they_are_read_to_their_end(data: bytes, pause: int) -> None:
    state = Reading()
    for end in (*range(0, len(data), pause), len(data)):
        before = state.offset
        _, state = read_events(data[state.offset : end], state)
        assert state.offset >= before
    assert state.offset >= len(data) - 11 or not state.lost


@given(st.binary(max_size=200))
def test_whatever_a_record_holds_it_raises_nothing(record: bytes) -> None:
    _, state = read_events(framed(record))
    assert state.offset == len(framed(record))


def test_only_files_that_are_there_and_read_keep_a_cursor() -> None:
    known = {f"{n:03}.tfevents": FileCursor(offset=n) for n in range(MOST_FILES + 50)}
    files = tuple(
        OutputFile(path, 1, 0o644, 0.0, bytes(32), bytes(32))
        for path in (*sorted(known)[20:], "new.tfevents")
    )
    chosen = event_files(Manifest(files=files), known)
    cursors = cursors_of(chosen, known)
    assert list(cursors) == [file.path for file in chosen] == sorted(known)[20 : 20 + MOST_FILES]
    assert cursors["020.tfevents"] == known["020.tfevents"]
    assert cursors_of(event_files(Manifest(files=files[-1:]), known), known) == {}
