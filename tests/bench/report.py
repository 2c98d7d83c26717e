"""The figures as a table that a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench.job import TITLES
from tests.bench.summary import RATIOS, TARGETS, bandwidth_share, of, percentile, ratio, spread, tokens_by_side

MOST_GAP_MS = 50
WIDTH = 54


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The whole report."""
    yield from machine_lines(figures)
    yield _run(figures["settings"])
    yield from _loading(figures)
    for threads, runs in figures["runs"].items():
        yield from _speeds(runs, threads)
        yield from _ratios(runs, threads)
        yield from _bandwidth(runs, figures["model"]["pass_bytes"])
        yield from _window(figures["window"].get(threads))
    yield from _spin(figures["spin"])
    yield from _tokens(figures)


def machine_lines(figures: dict[str, Any]) -> Iterator[str]:
    """What was measured on, and which model."""
    model = figures["model"]
    before, after = figures["machine"]["before"], figures["machine"]["after"]
    yield f"Machine    {before['cpu']}, {before['cores']} cores, {before['memory'] / 2**30:.0f} GiB, {before['system']}"
    yield "Libraries  " + ", ".join(f"{name} {number}" for name, number in before["libraries"].items())
    loads = (" ".join(f"{n:.2f}" for n in facts["load_average"]) for facts in (before, after))
    stolen = after["stolen"] - before["stolen"]
    yield f"Load       average {' before, '.join(loads)} after; {stolen:.1f} s of processor time were taken by others"
    yield f"Model      {model['name']}, {model['parameters']:,} parameters, {model['stored_as']}, computed in float32"


def _run(settings: dict[str, Any]) -> str:
    return (
        f"Run        prefill of {settings['prompt_tokens']} tokens, then {settings['tokens']} decode passes, greedy; "
        f"{settings['rounds']} rounds, sides in turn; median (least to most)"
    )


def _loading(figures: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{'':{WIDTH}}{'load time':>20}{'from process start':>22}{'peak memory':>16}"
    for side in (name for name in TITLES if name in figures["load"]):
        ready = figures["load"][side]
        peak = figures["peak"][side] / 2**20
        yield f"{_title(side)}{ready['load']:>18.1f} s{ready['since_start']:>20.1f} s{peak:>12,.0f} MiB"
    yield "   load time is from the call, imports done; the engine loads the tokenizer too, transformers does not;"
    yield "   from process start includes the imports, for c also the window and its first run"


def _speeds(runs: dict[str, Any], threads: int) -> Iterator[str]:
    yield ""
    head = f"{threads} thread{'s' * (threads != 1)}"
    yield f"{head:{WIDTH}}{'prefill tokens/s':>24}{'decode tokens/s':>24}{'median pass':>13}{'best pass':>11}"
    for side in (name for name in runs if name in TITLES):
        rounds = runs[side]
        passes = f"{max(of(rounds, 'median pass')):>13.1f}{max(of(rounds, 'best pass')):>11.1f}"
        yield f"{_title(side)}{_rate(rounds, 'prefill'):>24}{_rate(rounds, 'decode'):>24}{passes}{_answers(rounds[-1])}"


def _title(side: str) -> str:
    return f"{side:<3}{TITLES[side]:{WIDTH - 3}}"


def _rate(rounds: Any, figure: str) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*spread(of(rounds, figure)))


def _answers(figures: dict[str, Any]) -> str:
    if "answered" not in figures:
        return ""
    late = f", {figures['late']} late" if figures.get("late") else ""
    return f"   {figures['answered']} answers a round{late}"


def _ratios(runs: dict[str, Any], threads: int) -> Iterator[str]:
    for name in RATIOS:
        over, under = name.split("/")
        if over not in runs or under not in runs:
            continue
        middle, least, most = ratio(runs[over], runs[under], "decode")
        best = max(of(runs[over], "decode")) / max(of(runs[under], "decode"))
        prefill = ratio(runs[over], runs[under], "prefill")[0]
        yield (
            f"{name}   decode {middle:.2f} ({least:.2f} to {most:.2f}), best rounds {best:.2f}, prefill {prefill:.2f}"
            f"{_verdict(middle, TARGETS.get(threads, {}).get(name))}"
        )


def _verdict(value: float, target: float | None) -> str:
    if target is None:
        return ""
    return f"   target >= {target:.2f}: {'reached' if value >= target else 'MISSED'}"


def _bandwidth(runs: dict[str, Any], pass_bytes: int) -> Iterator[str]:
    read = runs["bandwidth"]
    middle, least, most = (value / 1e9 for value in spread(of(read, "bandwidth")))
    yield f"memory is read at {middle:.1f} GB/s ({least:.1f} to {most:.1f}); a pass reads {pass_bytes / 1e6:.0f} MB"
    for side in (name for name in runs if name in "ad"):
        share = bandwidth_share(pass_bytes, runs[side], read)
        yield "{}    decode reaches {:.0%} ({:.0%} to {:.0%}) of that".format(side, *share)


def _window(window: dict[str, Any] | None) -> Iterator[str]:
    if window is None:
        return
    gaps = [1000 * gap for gap in window["gaps"]]
    share = sum(gap < MOST_GAP_MS for gap in gaps) / len(gaps)
    verdict = "reached" if share >= 0.99 else "MISSED"
    yield (
        f"c    ticks of the window while generating: 99 % within {percentile(gaps, 0.99):.1f} ms, "
        f"longest {max(gaps):.1f} ms, {share:.2%} under {MOST_GAP_MS} ms   target >= 99 %: {verdict}"
    )
    times = f"window shown {window['shown']:.2f} s, first token on screen {window['first_token']:.2f} s"
    yield f"c    from the start of the process: {times}"


def _spin(spin: dict[str, Any]) -> Iterator[str]:
    if not spin:
        return
    yield ""
    yield f"GOMP_SPINCOUNT, {spin['threads']} threads"
    best: dict[str, tuple[float, str]] = {}
    for name, rounds in spin["runs"].items():
        side, count = name.split()
        yield f"{side}  {count:>10}   prefill {_rate(rounds, 'prefill')}   decode {_rate(rounds, 'decode')}"
        best[side] = max(best.get(side, (0.0, "")), (spread(of(rounds, "decode"))[0], count))
    yield "better: " + ", ".join(f"{side} with {count}" for side, (_, count) in best.items())


def _tokens(figures: dict[str, Any]) -> Iterator[str]:
    yield ""
    made = tokens_by_side(figures)
    every = set().union(*made.values())
    if len(every) == 1:
        yield f"greedy tokens of {', '.join(sorted(made))}: equal in every round ({len(next(iter(every)))} tokens)"
        return
    yield "greedy tokens DIFFER:"
    for side, sequences in sorted(made.items()):
        for tokens in sorted(sequences):
            yield f"{side}  {len(tokens)} tokens: {' '.join(map(str, tokens))}"
