"""The figures of ``tests.bench.growth`` as tables that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tests.bench.fits import Line, line, medians
from tests.bench.report import machine_lines

WIDTH = 44
MOST_MEMORY = 4e9
MOST_CHANGE = 0.05  # of a pass: what recording, or the window, may take more at the end of the run than at its start
MOST_BEND = 0.10  # how far the passes may be from a straight line
KEPT_SHARE = 1.2  # recorded bytes a token over those of the stream


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The whole report."""
    settings = figures["settings"]
    first, last = settings["prompt_tokens"], settings["tokens"]
    yield from machine_lines(figures)
    yield (
        f"Run        prefill of {first:,} tokens, then decode to {last:,}; {settings['threads']} thread(s); bare and "
        f"recording in turns of {settings['turn']} passes, then with the window ({settings['layout']} layout)"
    )
    seconds = _seconds(figures)
    yield ""
    yield f"{'milliseconds a token':{WIDTH}}{'constant':>12}{'per 1,000':>12}{f'at {first:,}':>12}{f'at {last:,}':>12}"
    for title, found in seconds.items():
        ends = f"{1000 * found.at(first):>12.3f}{1000 * found.at(last):>12.3f}"
        yield f"{title:{WIDTH}}{1000 * found.constant:>12.3f}{1e6 * found.slope:>12.3f}{ends}"
    yield ""
    yield f"{'bytes':{WIDTH}}{'constant':>16}{'a token':>16}"
    sizes = _sizes(figures)
    for title, found in sizes.items():
        yield f"{title:{WIDTH}}{found.constant:>16,.0f}{found.slope:>16,.0f}"
    yield ""
    yield from _verdicts(figures, seconds, sizes, first, last)


def _seconds(figures: dict[str, Any]) -> dict[str, Line]:
    """Lines over the length of the run, in seconds a token."""
    turn, first, watched = figures["settings"]["turn"], figures["settings"]["prompt_tokens"], figures["window"]
    passes = {name: _joined(figures["runs"][name], "passes") for name in "ar"}
    ends = [(end, seconds) for end, seconds, _ in watched["samples"]]
    return {
        "a pass, bare": line(*medians(passes["a"], turn, first)),
        "a pass, recording": line(*medians(passes["r"], turn, first)),
        "   of it recording": line(*medians(_joined(figures["runs"]["r"], "recording"), turn, first)),
        "a pass, window open": line(*medians(watched["passes"], turn, first)),
        "   of it watching": line(*medians(watched["watching"], turn, first)),
        "the window's thread beside it": line(*_rates(ends, turn)),
    }


def _joined(turns: Sequence[dict[str, Any]], figure: str) -> list[float]:
    """Of all turns but prefill."""
    return [value for turn in turns[1:] for value in turn[figure]]


def _rates(samples: Sequence[tuple[int, float]], turn: int) -> tuple[list[float], list[float]]:
    """Seconds a token between samples that lie about ``turn`` tokens apart, and where; without the first pictures."""
    places, rates = [], []
    end, seconds = samples[0]
    for later, spent in samples[1:]:
        if later - end >= turn:
            places.append((end + later) / 2)
            rates.append((spent - seconds) / (later - end))
            end, seconds = later, spent
    return places[1:], rates[1:]


def _sizes(figures: dict[str, Any]) -> dict[str, Line]:
    turns = figures["runs"]["r"]
    positions = [turn["positions"] for turn in turns]
    ends, resident = (
        [end for end, _, _ in figures["window"]["samples"]],
        [s for _, _, s in figures["window"]["samples"]],
    )
    return {
        "the record": line(positions, [turn["record"] for turn in turns]),
        "the KV cache": line(positions, [turn["cache"] for turn in turns]),
        "the process, recording": line(positions, [turn["resident"] for turn in turns]),
        "the process, bare": line(positions, [turn["resident"] for turn in figures["runs"]["a"]]),
        "the process with the window": line(ends, resident),
    }


def _verdicts(figures: Any, seconds: dict[str, Line], sizes: dict[str, Line], first: int, last: int) -> Iterator[str]:
    whole = seconds["a pass, recording"].at(last)
    for title, name in (("recording", "   of it recording"), ("the window", "the window's thread beside it")):
        change = abs(seconds[name].at(last) - seconds[name].at(first))
        said = f"{title} takes the same of every token: it changes by {1000 * change:.3f} ms"
        yield _judged(f"{said}, {change / whole:.1%} of a pass", change / whole <= MOST_CHANGE, f"<= {MOST_CHANGE:.0%}")
    off = seconds["a pass, bare"].off
    yield _judged(f"attention grows in a line: tenths of the run are off it by {off:.1%} at most", off <= MOST_BEND,
                  f"<= {MOST_BEND:.0%}")  # fmt: skip
    stream = 4 * (figures["model"]["n_layers"] + 1) * figures["model"]["d_model"]
    share = sizes["the record"].slope / stream
    yield _judged(f"the record takes {share:.2f} of the residual stream's {stream:,} bytes a token",
                  share <= KEPT_SHARE, f"<= {KEPT_SHARE}")  # fmt: skip
    titles = {"a": "bare", "r": "recording", "c": "the program with its window"}
    for name, peak in figures["peak"].items():
        yield _judged(f"peak memory of the process, {titles[name]}: {peak / 1e9:.2f} GB, the model with it",
                      peak <= MOST_MEMORY, f"<= {MOST_MEMORY / 1e9:.0f} GB")  # fmt: skip
    begun = [turns[0]["passes"][0] for turns in figures["runs"].values()]
    yield f"prefill took {min(begun):.2f} s; the last passes {1000 * float(np.median(_last(figures))):.1f} ms"


def _last(figures: dict[str, Any]) -> list[float]:
    return figures["runs"]["a"][-1]["passes"]


def _judged(text: str, met: bool, goal: str) -> str:
    return f"{text}   reach {goal}: {'met' if met else 'MISSED'}"
