"""Which runs does a search of MLflow's find? Pure.

Of its language the part that programs use: comparisons joined by AND, and orders. What is not
understood is refused: a search that finds something else would be worse.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from agent.mlflow.book import ACTIVE, DELETED, Refusal, Run
from agent.mlflow.texts import Json, newest_first, text_if_there, whole_number

FIELD = r"""(?:(\w+)\.)?(?:"([^"]+)"|`([^`]+)`|([\w./-]+))"""
TERM = re.compile(rf"""^\s*{FIELD}\s*(=|!=|<=|>=|<|>)\s*(?:'([^']*)'|"([^"]*)"|(-?[\w.+-]+))\s*$""")
ORDER = re.compile(rf"^\s*{FIELD}(?:\s+(ASC|DESC))?\s*$", re.IGNORECASE)
AND = re.compile(r"\s+AND\s+", re.IGNORECASE)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FILTER_LENGTH, MOST_TERMS = 2000, 20
MOST_FOUND = 1000
VIEWS = {"ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,), "ALL": (ACTIVE, DELETED)}
ATTRIBUTES: dict[str, Callable[[Run], Any]] = {
    "status": lambda run: run.status,
    "run_id": lambda run: run.id,
    "run_name": lambda run: run.name,
    "user_id": lambda run: run.user,
    "start_time": lambda run: run.started,
    "created": lambda run: run.started,
    "end_time": lambda run: run.ended,
}

Value = Callable[[Run], Any]


def chosen(runs: Iterable[Run], body: Json) -> list[Run]:
    """Raises ``Refusal``. All that is found: there is no second page."""
    stages = VIEWS.get(str(body.get("run_view_type") or "ACTIVE_ONLY"), (ACTIVE,))
    wanted = body.get("experiment_ids")
    experiments = {str(one) for one in wanted} if isinstance(wanted, list) else set()
    terms = terms_of(text_if_there(body, "filter", most=FILTER_LENGTH))
    found = [
        run
        for run in newest_first(runs)
        if run.stage in stages
        and run.experiment in experiments
        and all(holds(run) for holds in terms)
    ]
    for value, backwards in reversed(orders_of(body)):
        found = ordered(found, value, backwards)
    most = whole_number(body, "max_results", MOST_FOUND)
    return found[: max(0, most)]


def terms_of(filter: str) -> list[Callable[[Run], bool]]:
    parts = AND.split(filter) if filter.strip() else []
    if len(parts) > MOST_TERMS:
        raise Refusal(f"a filter may have {MOST_TERMS} comparisons")
    return [term_of(part) for part in parts]


def term_of(part: str) -> Callable[[Run], bool]:
    match = TERM.match(part)
    if match is None:
        raise Refusal(
            f"{part[:80]!r} is no comparison that Stoker's tracking knows: write metrics.loss < 1"
            " or params.model = 'big', joined by AND"
        )
    kind, *names = match.groups()[:4]
    compare, *literals = match.groups()[4:]
    value = value_of(kind, next(name for name in names if name))
    literal: Any = next(one for one in literals if one is not None)
    if literals[2] is not None:
        literal = number_of(literal)

    def holds(run: Run) -> bool:
        found = value(run)
        try:
            return found is not None and COMPARE[compare](found, literal)
        except TypeError:
            return False

    return holds


def orders_of(body: Json) -> list[tuple[Value, bool]]:
    asked = body.get("order_by") or []
    if not isinstance(asked, list) or len(asked) > MOST_TERMS:
        raise Refusal("order_by is not a short list")
    orders = []
    for one in asked:
        match = ORDER.match(str(one)[:FILTER_LENGTH])
        if match is None:
            raise Refusal(f"{str(one)[:80]!r} is no order that Stoker's tracking knows")
        kind, *names, way = match.groups()
        name = next(name for name in names if name)
        orders.append((value_of(kind, name), (way or "").upper() == "DESC"))
    return orders


def value_of(kind: str | None, name: str) -> Value:
    match (kind or "attributes").lower():
        case "metrics" | "metric":
            return lambda run: run.metrics[name].value if name in run.metrics else None
        case "params" | "param" | "parameters" | "parameter":
            return lambda run: run.params.get(name)
        case "tags" | "tag":
            return lambda run: run.tags.get(name)
        case "attributes" | "attribute" | "attr" | "run":
            if name.lower() in ATTRIBUTES:
                return ATTRIBUTES[name.lower()]
    raise Refusal(f"{f'{kind}.' if kind else ''}{name[:80]} is nothing that a run has")


def number_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refusal(f"{text[:80]!r} is no number; put quotes around a text") from None


def ordered(runs: Iterable[Run], value: Value, backwards: bool) -> list[Run]:
    """What has no such value, or NaN, comes last in any case."""

    def key(run: Run) -> tuple[bool, Any]:
        found = value(run)
        return (True, 0) if found is None or found != found else (False, found)

    return sorted(sorted(runs, key=key, reverse=backwards), key=lambda run: key(run)[0])
