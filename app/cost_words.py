"""What watching costs, in words: a line for the status bar, a table, and a sentence on what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.detail import LATE_TOKENS, LIMITS, Reason
from app.ledger import BARS, OTHER, WindowCost
from engine.frames import WatchCost
from engine.meter import ANSWER, BREAK, FRAME, HOOKS, MAPS, NEURONS, RECORD, ROUTING

Translate = Callable[[str], str]
LITTLE = 0.05  # of the pass, or of the time: less than this needs no advice


@dataclass(frozen=True)
class Figures:
    """``engine``: of the last passes; ``window``: of the last seconds; how often detail is halved now, and why."""

    engine: WatchCost
    window: WindowCost
    halvings: int = 0
    reason: Reason | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table: ``seconds`` per token (None: no token came), ``share`` of the pass or of the time."""

    part: str
    text: str
    seconds: float | None
    share: float


@dataclass(frozen=True)
class Group:
    """Lines that add up: ``head`` is the sum. ``plain``: what their shares are of."""

    head: Row
    rows: tuple[Row, ...]


def summary(figures: Figures | None, tr: Translate, *, short: bool = False) -> str:
    """ "watching +6 % · window 12 % · 24 pictures/s", or only what is most important of it; "" before a run."""
    if figures is None:
        return ""
    parts = [tr("watching +{0}").format(share_text(figures.engine.share))]
    if figures.window.pictures and not short:
        parts.append(tr("window {0}").format(share_text(figures.window.share)))
        parts.append(tr("{0:.0f} pictures/s").format(figures.window.rate))
    if figures.halvings:
        parts.append(detail_text(figures.halvings, tr))
    return " · ".join(parts)


def detail_text(halvings: int, tr: Translate) -> str:
    """ "detail halved"; "" while there is all of it."""
    return ("", tr("detail halved"), tr("detail quartered"))[halvings]


def badge_text(halvings: int, tr: Translate) -> str:
    """The same for the badge of a panel."""
    return tr("{0} to keep up").format(detail_text(halvings, tr)) if halvings else ""


def share_text(share: float) -> str:
    """ "12 %", "6.2 %", "0 %"."""
    amount = share * 100
    return f"{amount:.0f} %" if amount >= 10 or amount < 0.05 else f"{amount:.1f} %"


def milliseconds(seconds: float | None) -> str:
    """ "41.3 ms", "0.04 ms"; a dash where no token came."""
    if seconds is None:
        return "–"
    amount = seconds * 1000
    return f"{amount:.1f} ms" if amount >= 10 else f"{amount:.2f} ms"


def groups(figures: Figures, titles: Mapping[str, str], tr: Translate) -> tuple[Group, Group]:
    """What was added to the pass, and what the window's thread did. ``titles`` of panels, by key."""
    return _engine_group(figures.engine, titles, tr), _window_group(figures.window, titles, tr)


def _engine_group(cost: WatchCost, titles: Mapping[str, str], tr: Translate) -> Group:
    names = _engine_names(tr)
    spent: defaultdict[tuple[str, str], float] = defaultdict(float)
    for part, seconds in cost.parts:
        asker = part.removeprefix(ANSWER).partition(".")[0] if part.startswith(ANSWER) else ""
        text = tr("questions of {0}").format(titles.get(asker, asker)) if asker else names.get(part, part)
        text = _breakpoint_name(part, tr) if part.startswith(BREAK) else text
        spent[(ANSWER + asker if asker else part), text] += seconds
    rows = [_engine_row(part, text, seconds, cost) for (part, text), seconds in spent.items()]
    head = _engine_row("engine", tr("Added to the pass: share of the pass"), cost.seconds, cost)
    return Group(head, _largest_first(rows))


def _engine_row(part: str, text: str, seconds: float, cost: WatchCost) -> Row:
    return Row(part, text, seconds / cost.passes if cost.passes else None, seconds / cost.plain if cost.plain else 0.0)


def _breakpoint_name(part: str, tr: Translate) -> str:
    """ "breakpoint 3"; number 0 is the watch for NaN and infinity."""
    number = part.removeprefix(BREAK)
    return tr("watching for NaN and infinity") if number == "0" else tr("breakpoint {0}").format(number)


def _engine_names(tr: Translate) -> dict[str, str]:
    return {
        RECORD: tr("recording the residual stream and norms"),
        ROUTING: tr("recording what routers decided"),
        MAPS: tr("following attention maps"),
        NEURONS: tr("following neurons"),
        HOOKS: tr("hooks of your own"),
        FRAME: tr("telling the token, its candidates and its stages"),
    }


def _window_group(cost: WindowCost, titles: Mapping[str, str], tr: Translate) -> Group:
    names = {BARS: tr("bars, and handing figures around"), OTHER: tr("mouse, keys and timers")}
    rows = [
        _window_row(
            f"window {part}", names.get(part) or tr("drawing {0}").format(titles.get(part, part)), seconds, cost
        )
        for part, seconds in cost.parts
    ]
    head = _window_row("window", tr("Worked by the window: share of the time"), cost.worked, cost)
    return Group(head, _largest_first(rows))


def _window_row(part: str, text: str, seconds: float, cost: WindowCost) -> Row:
    return Row(
        part,
        text,
        seconds / cost.tokens if cost.tokens else None,
        seconds / cost.seconds if cost.seconds else 0.0,
    )


def _largest_first(rows: list[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: -row.share))


def plain_text(figures: Figures, tr: Translate) -> str:
    """What the shares are of: the pass without watching, and the time of one picture."""
    engine, window = figures.engine, figures.window
    text = tr("The pass by itself takes {0} a token.").format(
        milliseconds(engine.plain / engine.passes if engine.passes else None)
    )
    if not window.pictures:
        return text
    form = tr("The window's thread works {0} for each of {1:.0f} pictures a second.")
    return f"{text} {form.format(milliseconds(window.worked / window.pictures), window.rate)}"


def advice(figures: Figures, titles: Mapping[str, str], tr: Translate) -> str:
    """What to do, from the largest part of all; and why there is less detail, if there is."""
    engine, window = groups(figures, titles, tr)
    largest = max((*engine.rows, *window.rows), key=lambda row: row.share, default=None)
    if largest is None or (largest.share < LITTLE and figures.reason is None):
        return tr("No part takes more than {0:.0f} %: nothing need be hidden.").format(LITTLE * 100)
    said = _about(largest.part, titles, tr)
    return said if figures.reason is None else f"{_why(figures.reason, tr)} {said}"


def _about(part: str, titles: Mapping[str, str], tr: Translate) -> str:
    if part.startswith(ANSWER):
        asker = part.removeprefix(ANSWER)
        form = tr("Most goes into the questions of {0}: hide that panel, or look at a layer with fewer heads.")
        return form.format(titles.get(asker, asker))
    if part.startswith(BREAK):
        return tr("Most goes into {0}: switch it off where it is not needed.").format(_breakpoint_name(part, tr))
    drawn = part.removeprefix("window ")
    if drawn in titles:
        return tr("Most goes into drawing {0}: hide that panel, or make it smaller.").format(titles[drawn])
    return _abouts(tr).get(part, tr("Most goes into {0}.").format(part))


def _abouts(tr: Translate) -> dict[str, str]:
    return {
        RECORD: tr("Most goes into the record; it is what keeps every token open to inspection."),
        ROUTING: tr("Most goes into recording the routers; it is what the experts' figures are made of."),
        MAPS: tr("Most goes into following attention maps: hide Attention, or look at a layer with fewer heads."),
        NEURONS: tr("Most goes into following neurons: hide the panel that shows them."),
        HOOKS: tr("Most goes into hooks of your own: detach those that are not needed."),
        FRAME: tr("Most goes into telling each token with its candidates; all that follows the run lives on it."),
        f"window {BARS}": tr("Most goes into the bars around the panels; a smaller window is quicker."),
        f"window {OTHER}": tr("Most goes into the mouse and keys; pictures follow them while they move."),
    }


def _why(reason: Reason, tr: Translate) -> str:
    causes = {
        "share": tr("the window worked more than {0:.0f} % of the time").format(LIMITS["share"] * 100),
        "picture": tr("a picture took more than {0:.0f} ms of work").format(LIMITS["picture"] * 1000),
        "late": tr("pictures lagged more than {0} tokens").format(LATE_TOKENS),
        "answers": tr("questions took more than {0:.0f} % of the pass").format(LIMITS["answers"] * 100),
    }
    form = tr("Pictures have less detail now because {0}; it comes back when there is time, and at once on a pause.")
    return form.format(causes[reason])
