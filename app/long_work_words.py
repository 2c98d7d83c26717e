"""How long work is put into words: how far it is, how long it still takes."""

from __future__ import annotations

from collections.abc import Callable

from app.long_work import Unit, Work
from app.widgets.amounts import bytes_text

Translate = Callable[[str], str]
SOON_S = 1.5


def figures_text(work: Work, now: float, tr: Translate) -> str:
    """ "12.0 MB of 98.4 MB · 12 s left"; "4 s so far" where it cannot be said how far it is."""
    if not work.total:
        return tr("{0} so far").format(seconds_text(now - work.began, tr))
    left = work.left_s(now)
    amount = _AMOUNTS[work.unit](work, tr)
    return amount if left is None else f"{amount} · {left_text(left, tr)}"


def left_text(seconds: float, tr: Translate) -> str:
    """ "12 s left", "soon done"."""
    return tr("soon done") if seconds < SOON_S else tr("{0} left").format(seconds_text(seconds, tr))


def seconds_text(seconds: float, tr: Translate) -> str:
    """ "8 s", "2 min 5 s", "1 h 20 min": no finer than anybody waits."""
    whole = max(0, round(seconds))
    if whole < 60:
        return tr("{0} s").format(whole)
    if whole < 3600:
        return tr("{0} min {1} s").format(whole // 60, whole % 60)
    return tr("{0} h {1} min").format(whole // 3600, whole % 3600 // 60)


def whole_text(work: Work, now: float, tr: Translate) -> str:
    """What it is and how far."""
    return f"{work.text} · {figures_text(work, now, tr)}"


def percent(work: Work) -> int:
    """0 to 100; of what is longer than was thought, 100."""
    return min(100, 100 * work.done // work.total) if work.total else 0


def _bytes(work: Work, tr: Translate) -> str:
    return tr("{0} of {1}").format(bytes_text(work.done), bytes_text(work.total))


def _tokens(work: Work, tr: Translate) -> str:
    return tr("{0} of {1} tokens").format(work.done, work.total)


def _frames(work: Work, tr: Translate) -> str:
    return tr("{0} of {1} frames").format(work.done, work.total)


def _share(work: Work, tr: Translate) -> str:
    return f"{percent(work)} %"


_AMOUNTS: dict[Unit, Callable[[Work, Translate], str]] = {
    "bytes": _bytes,
    "tokens": _tokens,
    "frames": _frames,
    "share": _share,
}
