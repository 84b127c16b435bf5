"""Is a line a progress bar, and where is it? Pure.

A bar is painted over and over: what it shows for one place is what it showed there last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.metrics.words import EPOCHS, SETS

PAINT = "█▉▊▋▌▍▎▏▓▒░■□━╸╺─·"
PLACE = r"(?P<n>\d{1,18})/(?P<of>\d{1,18})"
PAINTED = rf"(?:\[[=>.\-# ]{{3,400}}\]|[{PAINT}][{PAINT} ]{{2,400}})"
FORMS = (
    # tqdm, Lightning: ``Epoch 3:  55%|█████▌    | 516/938 [00:05<00:04, 92.1it/s, loss=0.5]``
    re.compile(rf"\|[^|]{{0,400}}\|\s{{0,8}}{PLACE} \["),
    # the same where there is no room for the bar: ``Epoch 3:  97% 1651/1702 [13:00<00:24, …]``
    re.compile(rf"\d{{1,3}}%\s{{1,4}}{PLACE} \["),
    # rich: ``Epoch 3/9 ━━━━━━━━ 938/938 0:00:10``; many of people's own
    re.compile(rf"{PAINTED}\s{{0,8}}(?:\d{{1,3}}%\s{{0,4}})?{PLACE}"),
    # Keras: ``516/938 [=====>....]``, ``516/938 ━━━━━━━━ 3s 1ms/step``
    re.compile(rf"{PLACE}\s{{1,4}}{PAINTED}"),
    # Keras without a terminal: ``938/938 - 3s - 2ms/step - loss: 0.5``
    re.compile(rf"^\s{{0,8}}{PLACE} - "),
    # PyTorch's tutorial: ``loss: 2.301494  [   64/60000]``
    re.compile(r"\[\s{0,12}(?P<n>\d{1,18})/\s{0,12}(?P<of>\d{1,18})\]\s*$"),
)
ENDLESS = re.compile(r"(?P<n>\d{1,18})it \[")
"""tqdm that knows no end: ``450it [00:12, 36.2it/s, loss=0.5]``."""
EPOCH = re.compile(r"(?i)\bepochs?\b[\s:#=\[(]{0,4}(\d{1,9})(?!\d|\.\d)")
PERCENT = re.compile(r":?\s{0,4}\d{1,3}%\s{0,4}$")
"""What tqdm writes between a bar's name and the bar."""
WORD = re.compile(r"[A-Za-z]+")
LABEL = 40
"""Characters."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Where a progress bar is."""

    label: str
    """What stands before it, without numbers."""
    set_name: str
    """``val``, ``test`` …: whose numbers it shows; empty of the training."""
    epoch: int | None
    place: int
    total: int
    """0 where it does not know."""
    rest: str
    """The line without the bar and its place."""


def bar_of(text: str) -> Bar | None:
    for form in FORMS if "/" in text else ():
        match = form.search(text)
        if match is not None:
            return read_bar(text, match)
    match = ENDLESS.search(text) if "it [" in text else None
    return read_bar(text, match) if match else None


def read_bar(text: str, match: re.Match[str]) -> Bar:
    before = PERCENT.sub("", text[: match.start()])
    words = [word for word in WORD.findall(before) if word.lower() not in EPOCHS]
    epoch = EPOCH.search(before)
    return Bar(
        " ".join(words)[:LABEL],
        next((word.lower() for word in words if word.lower() in SETS), ""),
        int(epoch[1]) if epoch else None,
        int(match["n"]),
        int(match.groupdict().get("of") or 0),
        f"{before} {text[match.end() :]}",
    )
