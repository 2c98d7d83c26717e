"""The figures of ``tests.bench.record`` as tables that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.bench.job import RECORD_TITLES
from tests.bench.reach import REACHES, reached, with_shares
from tests.bench.report import machine_lines
from tests.bench.summary import Rounds, of, spread, tokens_by_side

WIDTH = 56


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The whole report."""
    facts, settings = figures["model"], figures["settings"]
    with_shares(figures["lengths"], facts, settings["tokens"])
    yield from machine_lines(figures)
    yield (
        f"Run        {settings['threads']} thread(s), {settings['tokens']} decode passes after each prompt, greedy; "
        f"{settings['rounds']} rounds, sides in turn; median (least to most)"
    )
    versions = {measured["versions"].get("f") for measured in figures["lengths"].values()} - {None}
    yield from (f"Side f     TransformerLens {version}" for version in versions)
    for length, measured in figures["lengths"].items():
        yield from _length(length, measured, facts, settings["tokens"])
    yield from _reaches(figures["lengths"])
    yield ""
    for length, measured in figures["lengths"].items():
        yield _tokens(length, measured["runs"])


def _length(length: int, measured: Mapping[str, Any], facts: Mapping[str, Any], tokens: int) -> Iterator[str]:
    yield ""
    heads = f"{'prefill s':>22}{'tokens/s':>10}{'decode tokens/s':>24}{'peak memory':>14}{'kept a token':>14}"
    yield f"{f'{length:,} tokens of prompt':{WIDTH}}{heads}"
    runs = measured["runs"]
    for side in (side for side in RECORD_TITLES if side in runs):
        yield f"{side:<3}{RECORD_TITLES[side]:{WIDTH - 3}}{_figures(runs[side], length, length + tokens)}"
    for side, why in sorted(measured["left out"].items()):
        yield f"{side:<3}{RECORD_TITLES[side]:{WIDTH - 3}}left out: {why}"
    read = spread(of(runs["bandwidth"], "bandwidth"))[0]
    limit = read / facts["pass_bytes"]
    yield f"   memory is read at {read / 1e9:.1f} GB/s and a pass reads {facts['pass_bytes'] / 1e6:.0f} MB of weights:"
    yield f"   {limit:.1f} tokens/s at most{''.join(_share(side, runs) for side in 'ar' if side in runs)}"


def _figures(rounds: Rounds, length: int, positions: int) -> str:
    seconds = [length / rate for rate in of(rounds, "prefill")]
    prefill = "{:.2f} ({:.2f} to {:.2f})".format(*spread(seconds))
    decode = "{:.1f} ({:.1f} to {:.1f})".format(*spread(of(rounds, "decode")))
    grown, kept = max(of(rounds, "grown")) / 2**20, spread(of(rounds, "kept"))[0] / positions / 1000
    rate = spread(of(rounds, "prefill"))[0]
    return f"{prefill:>22}{rate:>10.0f}{decode:>24}{grown:>10,.0f} MiB{kept:>11,.1f} kB"


def _share(side: str, runs: Mapping[str, Rounds]) -> str:
    return "; {} reaches {:.0%} ({:.0%} to {:.0%}) of that".format(side, *spread(of(runs[side], "of the bandwidth")))


def _reaches(lengths: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    yield ""
    yield f"{'reach':{WIDTH}}{'goal':>8}   measured, by tokens of prompt"
    for reach in REACHES:
        found = list(reached(reach, lengths))
        values = [f"{length}: {value:.2f} {'met' if reach.met(value) else 'MISSED'}" for length, value in found]
        wanted = f" at {reach.lengths[0]:,}" if len(reach.lengths) == 1 else ""
        yield f"{reach.title + wanted:{WIDTH}}{reach.goal:>8}   {', '.join(values) or 'not measured'}"


def _tokens(length: int, runs: Mapping[str, Rounds]) -> str:
    made = tokens_by_side({"runs": {0: runs}})
    every = set().union(*made.values())
    if len(every) == 1:
        return f"{length} tokens: greedy tokens of {', '.join(made)} are equal ({len(next(iter(every)))} tokens)"
    groups = {sequence: [side for side, made_by in made.items() if sequence in made_by] for sequence in every}
    return f"{length} tokens: greedy tokens DIFFER: " + "; ".join("".join(sides) for sides in groups.values())
