"""``python -m tests.bench.maps``: how soon an attention map of a long context is there, coarse and fine.

In one process, with no window and no pass beside it. Per length: one head's map (every stage), the grid of all heads,
a part at full resolution; and what a panel shows after a change of layer, together. Each round looks at another layer,
so nothing is there already. A slice is what a running pass may have to wait for. Processor time is of all threads
together: on a busy machine it says more than the clock.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from tests.bench.machine import machine_facts
from tests.bench.options import numbers
from tests.bench.prompt import TEXT
from tests.bench.summary import percentile, spread
from tests.real import real_gguf

GOAL_S = {"one head": 1.0, "change of layer": 0.3}  # of the whole answer; one head at 4,096, a layer at 1,000 tokens
SLICE_S = 0.02
MAP, TILE = 512, 128  # cells that a screen shows along an axis

Timed = dict[str, Any]  # "coarse" (None where it comes at once), "fine", "processor" in seconds, "slices"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = _parser().parse_args(arguments)
    import torch

    import engine

    torch.set_num_threads(given.threads)
    loaded = engine.load(str(given.model or real_gguf()), device="cpu", dtype="float32")
    figures = {n: measured(loaded, n, given.rounds) for n in given.positions}
    print("\n".join(lines(given, loaded.name, figures)))
    return 0


def measured(loaded: Any, n: int, rounds: int) -> dict[str, list[Timed]]:
    """Rounds of every case at ``n`` positions."""
    import engine

    session = engine.Session(loaded)
    next(session.generate(_prompt(loaded, n), 1))
    figures: dict[str, list[Timed]] = {}
    for index in range(rounds):
        for name, questions in cases(n, index % loaded.config.n_layers).items():
            session.watched = list
            session.let_maps_go()
            session.watched = None
            figures.setdefault(name, []).append(timed(session, questions))
    return figures


def cases(n: int, layer: int) -> dict[str, list[Any]]:
    """What is asked together, by what the report calls it."""
    from engine import questions as ask

    part = (max(0, n - MAP), n)
    one_head = {stage: [ask.AskAttentionMap(layer, 0, MAP, stage)] for stage in get_args(ask.AttentionStage)}
    return {
        "one head": one_head.pop("pattern"),
        **{f"one head, {stage}": questions for stage, questions in one_head.items()},
        "a part of it": [ask.AskAttentionMap(layer, 0, MAP, "pattern", part, part)],
        "grid of all heads": [ask.AskAttentionGrid(layer, TILE)],
        "change of layer": [
            ask.AskAttentionMap(layer, 0, MAP),
            ask.AskAttentionRow(layer, n - 1),
            ask.AskAttentionGrid(layer, TILE),
        ],
    }


def timed(session: Any, questions: list[Any]) -> Timed:
    """Seconds until there is something of every answer, and until all of it is there; and of every slice."""
    began, busy, firsts, slices = time.perf_counter(), time.process_time(), [], []
    for question in questions:
        work, first = session.answering(question), None
        while True:
            started = time.perf_counter()
            try:
                part, over = next(work), False
            except StopIteration as done:
                part, over = done.value, True
            now = time.perf_counter()
            slices.append(now - started)
            first = now - began if first is None and part is not None else first
            if over:
                break
        firsts.append((first, now - began))
    fine = firsts[-1][1]
    coarse = max(first for first, _ in firsts)
    return {
        "coarse": coarse if any(first < last for first, last in firsts) else None,
        "fine": fine,
        "processor": time.process_time() - busy,
        "slices": slices,
    }


def lines(given: argparse.Namespace, model: str, figures: dict[int, dict[str, list[Timed]]]) -> Iterator[str]:
    """The report."""
    facts = machine_facts()
    yield f"Machine    {facts['cpu']}, {facts['cores']} cores, {facts['system']}"
    yield "Libraries  " + ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    yield f"Load       {facts['load_average'][0]:.1f} before the report"
    yield f"Model      {model}, float32, {given.threads} threads, {given.rounds} rounds, each another layer"
    for n, by_case in figures.items():
        yield ""
        yield f"{f'{n:,} positions':28}{'coarse, ms':>24}{'whole, ms':>24}{'processor, ms':>24}{'slices, ms':>24}"
        for name, rounds in by_case.items():
            coarse = [1000 * one["coarse"] for one in rounds if one["coarse"] is not None]
            slices = [1000 * seconds for one in rounds for seconds in one["slices"]]
            told = f"{percentile(slices, 0.5):.1f}, 95 % {percentile(slices, 0.95):.1f}"
            first = _spread(coarse) if coarse else "at once"
            fine, busy = (_spread([1000 * one[figure] for one in rounds]) for figure in ("fine", "processor"))
            yield f"{name:28}{first:>24}{fine:>24}{busy:>24}{told:>24}"
    yield ""
    yield from _goals(figures)


def _goals(figures: dict[int, dict[str, list[Timed]]]) -> Iterator[str]:
    """The longest context is what a map is judged by, the shortest what a change of layer is."""
    for name, n in (("one head", max(figures)), ("change of layer", min(figures))):
        seconds, _, _ = spread([one["fine"] for one in figures[n][name]])
        reached = "reached" if seconds <= GOAL_S[name] else "MISSED"
        yield f"{name} at {n:,} positions: {seconds:.2f} s, target <= {GOAL_S[name]:g} s: {reached}"
    slices = [
        seconds
        for by_case in figures.values()
        for rounds in by_case.values()
        for r in rounds
        for seconds in r["slices"]
    ]
    share = sum(seconds <= SLICE_S for seconds in slices) / len(slices)
    yield f"{share:.1%} of {len(slices):,} slices take {1000 * SLICE_S:.0f} ms or less"


def _spread(values: list[float]) -> str:
    return "{:.0f} ({:.0f} to {:.0f})".format(*spread(values))


def _prompt(loaded: Any, n: int) -> list[int]:
    """The benchmark's text; for a model without a tokenizer ids of its vocabulary in turn."""
    if loaded.tokenizer is None:
        return [3 + place % (loaded.config.d_vocab - 3) for place in range(n)]
    return loaded.tokenizer.encode(TEXT * (2 + n // 64))[:n]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.maps", description=__doc__)
    parser.add_argument("--positions", type=numbers, default=(1000, 1024, 4096), help="(default: 1000,1024,4096)")
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a .gguf file or a folder (default: SmolLM2-135M-Instruct Q4_1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
