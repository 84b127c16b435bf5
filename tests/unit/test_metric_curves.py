"""Points are packed, limited, reduced and told without any of them becoming another one."""

from __future__ import annotations

import math
import random

import pytest

from bus.errors import Corrupt
from bus.metric_blocks import pack, unpack
from bus.metrics import place_of
from schemas.metric_head import MetricsHead, Spark
from schemas.metrics import MOST_POINTS, MOST_SERIES, Column, Points, Source
from services.metrics import growing
from services.metrics.curves import cut, joined, to_join
from services.metrics.growing import SPARK, News, grown
from ui.metric_curves import Axis, evenly, ordered, reduced, thinned, within
from ui.metric_views import columns, natural

NAN, INF = math.nan, math.inf
LOSS = (Source.LOG, "loss")


def points(*rows: tuple[int, float, float]) -> Points:
    made = Points()
    for row in rows:
        made.add(*row)
    return made


def wave(count: int) -> Points:
    chance = random.Random(7)
    return points(*((n, n / 10, chance.uniform(-1, 1)) for n in range(count)))


def rows(of: Points) -> list[str]:
    return [repr(row) for row in zip(of.steps, of.times, of.values, strict=True)]


ODD = points(
    (0, 0.0, NAN), (-(1 << 63), -5.5, INF), ((1 << 63) - 1, 1e12, -INF), (3, 2.001, 5e-324),
    (3, 2.0, -0.0), (-1, 1.25, 1.7976931348623157e308),
)  # fmt: skip


def test_a_block_gives_back_what_was_packed() -> None:
    batch = {LOSS: ODD, (Source.MACHINE, "é" * 200): wave(1000), (Source.LOG, "none"): Points()}
    found = unpack(pack(batch))
    assert list(found) == [key for key in batch if len(batch[key])]
    assert all(rows(found[key]) == rows(batch[key]) for key in found)
    assert list(unpack(pack(batch), {LOSS})) == [LOSS]


def test_a_column_gives_back_what_was_packed() -> None:
    assert rows(Column.packed(ODD).points()) == rows(ODD)
    with pytest.raises(ValueError, match="not equally long"):
        Column(steps=b"", times=b"12345678", values=b"").points()


def test_times_that_are_none_become_zero() -> None:
    found = unpack(pack({LOSS: points((1, NAN, 1.0), (2, INF, 1.0), (3, 1e300, 1.0))}))
    assert list(found[LOSS].times) == [0.0, 0.0, 0.0]


def test_damaged_blocks_are_told() -> None:
    data = pack({LOSS: wave(500)})
    chance = random.Random(3)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            unpack(bytes(damaged))
        except Corrupt:
            continue


def test_points_are_cut_and_joined_in_order() -> None:
    batch = {LOSS: wave(2500), (Source.LOG, "acc"): wave(700)}
    parts = cut(batch, 1000)
    assert [sum(map(len, part.values())) for part in parts] == [1000, 1000, 1000, 200]
    whole: dict[tuple[Source, str], Points] = {}
    for part in parts:
        whole = joined(whole, part)
    assert {key: rows(of) for key, of in whole.items()} == {k: rows(v) for k, v in batch.items()}


def test_blocks_are_joined_while_they_are_short() -> None:
    sizes = [300, 100, 30, 20]
    head = MetricsHead.model_validate(
        {
            "worker": "w",
            "blocks": [
                {"id": str(s), "points": s, "size": s, "since": 0, "until": 1} for s in sizes
            ],
        }
    )
    assert [one.size for one in to_join(head.blocks, 16, 400)] == [100, 30, 20]
    assert [one.size for one in to_join(head.blocks, 16, 60)] == [20]
    assert to_join(head.blocks, 5, 400) == ()
    assert to_join((), 16, 400) == ()


def test_figures_follow_the_points() -> None:
    head = MetricsHead(worker="w")
    for batch in ({LOSS: points((1, 1.0, 3.0), (2, 2.0, NAN))}, {LOSS: points((0, 3.0, INF))}):
        head, kept = grown(head, News(dict(batch)))
        assert kept == batch
    [one] = head.series
    assert (one.count, one.bad, one.low, one.high, one.last) == (3, 2, 3.0, 3.0, INF)
    assert (one.first_step, one.last_step, one.first_time, one.last_time) == (1, 0, 1.0, 3.0)


def test_series_and_points_beyond_the_limits_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "MOST_POINTS", MOST_SERIES + 2)
    batch = {(Source.LOG, f"n{n}"): points((1, 1.0, n)) for n in range(MOST_SERIES + 5)}
    head, kept = grown(MetricsHead(worker="w"), News(batch, left_out=4))
    assert (len(head.series), len(kept), head.left_out.series) == (MOST_SERIES, MOST_SERIES, 5)
    head = head.model_copy(update={"tail_points": MOST_SERIES})
    more = News({(Source.MLFLOW, "m"): points((1, 1.0, 1.0), (2, 1.0, 9.0), (3, 1.0, 2.0))})
    head, kept = grown(head, more)
    told = head.find("mlflow:m")
    assert told is not None
    assert (told.count, told.high, told.last, len(kept[Source.MLFLOW, "m"])) == (2, 9.0, 2.0, 2)
    assert head.left_out.points == 4 + 1
    assert MOST_POINTS > 1_000_000


def test_names_and_parameters_are_cleaned_and_bounded() -> None:
    news = News(params={f"p{n}": "x" * 900 for n in range(600)})
    news.add((Source.MLFLOW, " a\x00b\n" + "c" * 300), points((1, 1.0, 1.0)))
    news.add((Source.MLFLOW, "\x1b"), points((1, 1.0, 1.0)))
    head, _ = grown(MetricsHead(worker="w"), news)
    assert [(one.name[:4], len(one.name)) for one in head.series] == [("abcc", 200)]
    assert (len(head.params), head.left_out.params, len(head.params["p1"])) == (500, 100, 500)


@pytest.mark.parametrize("count", [1, 39, 40, 79, 80, 81, 1000, 12_345])
@pytest.mark.parametrize("each", [1, 7, 100_000])
def test_a_small_curve_is_the_same_however_its_points_come(count: int, each: int) -> None:
    values = wave(count).values
    spark = Spark(source=Source.LOG, name="loss")
    for at in range(0, count, each):
        spark = growing.lengthened(spark, values[at : at + each])
    assert spark.values == tuple(values[:: spark.stride])
    assert (spark.seen, len(spark.values) < 2 * SPARK) == (count, True)
    assert count < 2 * SPARK or len(spark.values) >= SPARK


def test_the_series_that_says_most_is_drawn_small() -> None:
    head = MetricsHead(worker="w")
    one = points((1, 1.0, 1.0))
    for source, name, best in (
        (Source.MACHINE, "cpu", None), (Source.LOG, "speed", "speed"), (Source.LOG, "acc", "acc"),
        (Source.LOG, "Loss", "Loss"), (Source.LOG, "val_loss", "Loss"),
    ):  # fmt: skip
        head, _ = grown(head, News({(source, name): one}))
        assert (head.spark.name if head.spark else None) == best


@pytest.mark.parametrize("most", [5, 10, 100, 999])
def test_no_peak_is_lost_when_points_are_reduced(most: int) -> None:
    whole = wave(1000)
    for few in (reduced(whole, Axis.STEP, most), thinned(whole, most)):
        assert len(few) <= most
        assert (few.steps[0], few.steps[-1]) == (0, 999)
        assert list(few.steps) == sorted(few.steps)
        assert (min(few.values), max(few.values)) == (min(whole.values), max(whole.values))


def test_what_is_no_number_stays_when_points_are_reduced() -> None:
    whole = wave(1000)
    whole.values[500] = NAN
    whole.values[600] = -INF
    few = reduced(whole, Axis.TIME, 50)
    assert len(few) <= 50
    assert sum(not math.isfinite(value) for value in few.values) == 2
    only = points(*((n, 1.0, NAN) for n in range(100)))
    assert len(reduced(only, Axis.STEP, 10)) <= 10
    assert len(reduced(points(*((5, 5.0, n) for n in range(100))), Axis.STEP, 10)) <= 10


def test_points_ascend_on_the_axis_and_equal_ones_stay_in_order() -> None:
    mixed = points((5, 1.0, 1), (3, 2.0, 2), (5, 3.0, 3), (4, 4.0, 4))
    by_step = ordered(mixed, Axis.STEP)
    assert list(by_step.values) == [2, 4, 1, 3]
    assert list(ordered(mixed, Axis.TIME).values) == [1, 2, 3, 4]
    assert list(within(by_step, Axis.STEP, 4, 5).values) == [4, 1, 3]
    assert len(within(by_step, Axis.STEP, 6, None)) == 0
    assert len(within(by_step, Axis.STEP, 5, 3)) == 0


def test_what_json_has_not_is_null_and_listed() -> None:
    told = columns(points((1, 1.0004, NAN), (2, 2.0, 5.0), (3, 3.0, -INF)))
    assert told["values"] == [None, 5.0, None]
    assert told["bad"] == [(0, "NaN"), (2, "-Infinity")]
    assert evenly(list(range(100)), 5) == [0, 24, 49, 74, 99]
    assert sorted(["gpu.10.use", "gpu.2.use", "a"], key=natural) == ["a", "gpu.2.use", "gpu.10.use"]


@pytest.mark.parametrize(
    ("subject", "place"),
    [
        ("stoker.metric.0d4k8q2m-7xv3.2.w1", "0d4k8q2m-7xv3.2"),
        ("stoker.metric.worker.0.w1", "worker.w1"),
        ("stoker.metric.worker.1.w1", None),
        ("stoker.metric.0d4k8q2m-7xv3.02.w1", None),
        ("stoker.metric.0d4k8q2m-7xv3.x.w1", None),
    ],
    ids=["attempt", "worker", "attempt-of-a-worker", "other-writing", "no-number"],
)
def test_a_subject_names_one_place_in_one_way(subject: str, place: str | None) -> None:
    if place is None:
        with pytest.raises(ValueError, match=r"is nobody's|invalid literal"):
            place_of(subject)
    else:
        assert (str(place_of(subject)[0]), place_of(subject)[1]) == (place, "w1")
