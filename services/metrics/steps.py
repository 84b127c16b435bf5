"""At which step was something told? Pure: by what a line says, and what lines before it said.

In this order: a step of its own (``step``, ``global_step``, ``iteration`` …); a place within an
epoch (``Epoch [2/5], Step [100/600]``, a progress bar), which counts on from epoch to epoch; a
whole epoch; the place on a bar without an epoch; the last header ``Epoch 3/10``; else a counter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.metrics.pairs import Found, Pair
from services.metrics.words import BATCHES, EPOCHS, STEPS

MOST_BARS = 64
"""Progress bars that are told apart by what stands before them."""
MOST_NAMES = 512
LARGEST = (1 << 63) - 1


@dataclass
class BarPlace:
    """Where a bar without an epoch is."""

    last: int = 0
    before: int = 0
    """Steps of its earlier rounds."""


@dataclass
class Course:
    """What was said before, as far as steps depend on it."""

    counter: int = 0
    """Lines without a step."""
    epoch: int | None = None
    """Of the last header."""
    last: int | None = None
    """The last step that was told."""
    stepped: bool = False
    """Whether steps of their own were: then epochs are none."""
    told: set[str] = field(default_factory=set)
    """Names that stand at that header or step already."""
    repeats: bool = False
    """Whether a name came twice behind one header: headers are no steps here."""
    from_zero: bool = False
    """Whether epochs are counted from 0."""
    per_epoch: int = 0
    """Steps of an epoch, where they were seen."""
    bars: dict[str, BarPlace] = field(default_factory=dict)


def headed(course: Course, epoch: int) -> None:
    """A line that tells an epoch and nothing else."""
    note_epoch(course, epoch)
    course.epoch = epoch
    course.told = set()


def note_epoch(course: Course, epoch: int) -> None:
    if epoch == 0:
        course.from_zero = True


@dataclass(frozen=True)
class Told:
    """A line, apart: its step or what tells it, and what was measured."""

    values: list[Pair]
    step: int | None = None
    step_of: int | None = None
    epoch: int | None = None
    partly: bool = False
    """Its epoch is a fraction."""
    batch: int | None = None
    batch_of: int | None = None


def apart(found: Found) -> Told:
    values: list[Pair] = []
    said: dict[str, Pair] = {}
    for pair in found.pairs:
        kind = kind_of(pair.name.lower())
        if kind and kind not in said and is_step(pair):
            said[kind] = pair
        elif not kind or kind == "epoch":
            values.append(pair)
    epoch, step, batch = said.get("epoch"), said.get("step"), said.get("batch")
    place = found.position
    if epoch and (step or not epoch.whole):
        values.append(epoch)
    return Told(
        values,
        int(step.value) if step else None,
        step.of if step else None,
        int(epoch.value) if epoch and epoch.whole else None,
        bool(epoch and not epoch.whole),
        place[0] if place else int(batch.value) if batch else None,
        place[1] if place else batch.of if batch else None,
    )


def kind_of(word: str) -> str:
    if word in STEPS:
        return "step"
    if word in EPOCHS:
        return "epoch"
    return "batch" if word in BATCHES else ""


def is_step(pair: Pair) -> bool:
    """Fractions are: of an epoch they are told."""
    whole = pair.value == pair.value and abs(pair.value) < LARGEST
    return whole and (pair.name.lower() in EPOCHS or pair.value.is_integer())


def step_of(told: Told, course: Course) -> int:
    """And changes ``course`` by what was said."""
    step = own_step(told, course)
    if step is None:
        return without(told, course)
    note_step(course, step)
    return step


def note_step(course: Course, step: int) -> None:
    if step != course.last:
        course.last, course.told = step, set()


def own_step(told: Told, course: Course) -> int | None:
    """By what the line itself says."""
    if told.epoch is not None:
        note_epoch(course, told.epoch)
    if told.step is not None and not (told.step_of and told.epoch is not None):
        course.stepped = True
        return told.step
    place, total = told.batch, told.batch_of
    if told.step is not None:
        place, total = told.step, told.step_of
    if place is not None and total:
        return within(course, told.epoch, place, total)
    if told.epoch is not None:
        return of_epoch(course, told.epoch)
    return None


def within(course: Course, epoch: int | None, place: int, total: int) -> int:
    """A place in an epoch, the header's where the line names none."""
    epoch = course.epoch if epoch is None else epoch
    if epoch is None:
        return place
    course.per_epoch = total
    return bounded((epoch - first(course)) * total + place)


def of_epoch(course: Course, epoch: int) -> int:
    """Its end, where steps within epochs are told, too; the last step where others are."""
    if course.per_epoch:
        return bounded((epoch - first(course) + 1) * course.per_epoch)
    return course.last if course.stepped and course.last is not None else epoch


def first(course: Course) -> int:
    return 0 if course.from_zero else 1


def without(told: Told, course: Course) -> int:
    """It stands at the last header, or the last step, as long as each name comes once there."""
    names = {pair.name for pair in told.values}
    fits = not told.partly and not names & course.told and len(course.told) < MOST_NAMES
    if course.epoch is not None and not told.partly and not course.repeats:
        if fits:
            course.told |= names
            return of_epoch(course, course.epoch)
        course.repeats = True
    if course.last is not None and fits:
        course.told |= names
        return course.last
    course.counter = bounded(max(course.counter, course.last or 0) + 1)
    return course.counter


def of_bar(course: Course, label: str, epoch: int | None, place: int, total: int) -> int:
    """A bar that starts anew goes on where its last round ended."""
    if epoch is not None:
        note_epoch(course, epoch)
    step = place_of_bar(course, label, epoch, place, total)
    note_step(course, step)
    return step


def place_of_bar(course: Course, label: str, epoch: int | None, place: int, total: int) -> int:
    if total and (epoch is not None or course.epoch is not None):
        return within(course, epoch, place, total)
    if label not in course.bars and len(course.bars) >= MOST_BARS:
        course.bars.pop(next(iter(course.bars)))
    bar = course.bars.setdefault(label, BarPlace())
    if place < bar.last:
        bar.before = bounded(bar.before + bar.last)
    bar.last = place
    return bounded(bar.before + place)


def bounded(step: int) -> int:
    return max(-LARGEST, min(LARGEST, step))
