"""``python -m tests.bench.user``: a long run with a user who clicks around in the window all the time.

Memory may grow by what the run itself keeps: the record, the cache, the steps. What is in use beyond that is measured
over the run (what the C library keeps free for later is given back before each look). After the window is closed
threads, timers and widgets are counted. The run of 8,000 tokens takes the better part of an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.fits import line
from tests.bench.machine import machine_facts
from tests.bench.measure import Note, prompt_job
from tests.bench.process import Process
from tests.bench.report import machine_lines
from tests.real import real_gguf

WARM_TOKENS = 200  # until every panel has been there once
OWN = ("record", "cache", "steps")
MOST_BEYOND = 10_000  # bytes a token that are not the run's own
WIDTH = 44


def measure(given: argparse.Namespace, note: Note) -> dict[str, Any]:
    """Every figure, as plain data."""
    before = machine_facts()
    model = str(given.model or real_gguf())
    count = given.tokens - given.prompt_tokens
    job, facts = prompt_job(model, given.threads, given.prompt_tokens, note, more=count)
    process = Process(replace(job, side="user", endless=True, layout="explore", every_ms=given.every))
    note("a short run first")
    process.ask("run", count=min(WARM_TOKENS, count))
    note(f"a run of {given.tokens:,} tokens")
    run = process.ask("run", count=count)
    left = process.ask("finish")
    peak = process.peak
    process.close()
    machine = {"before": before, "after": machine_facts()}
    return {"model": facts, "run": run, "left": left, "peak": peak, "settings": _settings(given), "machine": machine}


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(given, name) for name in ("tokens", "prompt_tokens", "threads", "every")}


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """The report."""
    settings, run, left = figures["settings"], figures["run"], figures["left"]
    yield from machine_lines(figures)
    yield (
        f"Run        prompt of {settings['prompt_tokens']:,} tokens, then to {settings['tokens']:,}; "
        f"{settings['threads']} thread(s); the user did something every {settings['every']} ms"
    )
    acts = ", ".join(f"{name} {count:,} times" for name, count in sorted(run["acts"].items(), key=lambda act: -act[1]))
    yield f"The user   {acts}"
    yield f"Speed      {run['tokens'] / run['seconds']:.1f} tokens/s, stops counted"
    yield ""
    yield f"{'bytes':{WIDTH}}{'at first':>16}{'in the end':>16}{'a token':>16}"
    for title, values in rows(run["samples"]).items():
        slope = line([sample["positions"] for sample in run["samples"]], values).slope
        yield f"{title:{WIDTH}}{values[0]:>16,.0f}{values[-1]:>16,.0f}{slope:>16,.0f}"
    yield ""
    yield _judged(f"memory grows by {beyond(figures):,.0f} bytes a token beyond the run's own",
                  beyond(figures) <= MOST_BEYOND, f"<= {MOST_BEYOND:,}")  # fmt: skip
    before, after = (rows([samples])["all else"][0] for samples in (run["samples"][0], run["samples"][-1]))
    yield f"all else grew by {(after - before) / 1e6:.1f} MB in the whole run"
    yield f"peak memory {figures['peak'] / 1e9:.2f} GB, the model with it"
    for what in ("widgets", "timers", "threads"):
        before, after = Counter(run["before"][what]), Counter(run["after"][what])
        more = f": {', '.join((after - before).elements())}" if after - before else ""
        yield f"{what} while the window is open: {before.total()} before the run, {after.total()} after it{more}"
    for what in ("threads", "timers", "windows", "widgets"):
        names = f" ({', '.join(left[what])})" if left[what] else ""
        yield _judged(f"{what} left by the closed window: {len(left[what])}{names}", not left[what], "0")
    yield _judged("the window closed in time", left["closed in time"], "yes")


def rows(samples: Sequence[dict[str, int]]) -> dict[str, list[int]]:
    """What there was at each sample, by what it is."""
    own = [sum(sample[name] for name in OWN) for sample in samples]
    return {
        "the process": [sample["resident"] for sample in samples],
        "the record of the stream, in memory": [sample["record"] for sample in samples],
        "the KV cache": [sample["cache"] for sample in samples],
        "the steps, as the window keeps them": [sample["steps"] for sample in samples],
        "all else": [sample["resident"] - mine for sample, mine in zip(samples, own, strict=True)],
    }


def beyond(figures: dict[str, Any]) -> float:
    """Bytes a token by which the process grows less what the run itself keeps: a straight line through the later half,
    since in the first one there are pictures and letters that are made for the first time."""
    samples = figures["run"]["samples"]
    samples = samples[len(samples) // 2 :]
    return line([sample["positions"] for sample in samples], rows(samples)["all else"]).slope


def _judged(text: str, met: bool, goal: str) -> str:
    return f"{text}   reach {goal}: {'met' if met else 'MISSED'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the raw figures where asked; 1 where something is left behind."""
    given = _parser().parse_args(arguments)
    figures = measure(given, lambda text: print(text, file=sys.stderr, flush=True))
    print("\n".join(lines(figures)))
    if given.json is not None:
        given.json.write_text(json.dumps(figures))
    left = figures["left"]
    return int(not left["closed in time"] or any(left[what] for what in ("threads", "timers", "windows", "widgets")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.user", description=__doc__)
    parser.add_argument("--tokens", type=int, default=8000, help="of the whole run (default: %(default)s)")
    parser.add_argument("--prompt-tokens", type=int, default=256, help="of them the prompt (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1000, help="milliseconds between two acts (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the engine (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a .gguf file or a folder (default: SmolLM2-135M-Instruct Q4_1)")
    parser.add_argument("--json", type=Path, help="write every figure here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
