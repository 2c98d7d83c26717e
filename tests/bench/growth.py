"""``python -m tests.bench.growth``: what a token costs, in bytes and seconds, the longer a run is.

One run of each: the bare engine and the recording one, in turns of some passes, then the program with its window open.
Straight lines are fitted over the length: what recording and the window take of each token is to stay the same,
attention grows in a line with the length. The whole of SmolLM2's context takes ``--tokens 8000``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.layout_names import EXPLORE, NAMES
from tests.bench.growth_report import lines
from tests.bench.machine import machine_facts
from tests.bench.measure import Note, prompt_job
from tests.bench.process import Process
from tests.real import real_gguf


def measure(given: argparse.Namespace, note: Note) -> dict[str, Any]:
    """Every figure, as plain data."""
    before = machine_facts()
    model = str(given.model or real_gguf())
    count = given.tokens - given.prompt_tokens
    job, facts = prompt_job(model, given.threads, given.prompt_tokens, note, more=count)
    job = replace(job, endless=True, layout=given.layout)
    note("loading the engine twice")
    engines = {name: Process(replace(job, side="growth", recording=name == "r")) for name in "ar"}
    runs = {name: [process.ask("begin")] for name, process in engines.items()}
    for done in range(0, count, given.turn):
        note(f"{given.prompt_tokens + done:,} of {given.tokens:,} tokens")
        for name, process in engines.items():
            runs[name].append(process.ask("go_on", count=min(given.turn, count - done)))
    peaks = {name: process.peak for name, process in engines.items()}
    for process in engines.values():
        process.close()
    note(f"the same run with the window open: {given.tokens:,} tokens")
    window = Process(replace(job, side="growth window"))
    watched = window.ask("run", count=count)
    peaks["c"] = window.peak
    window.close()
    figures = {"model": facts, "runs": runs, "window": watched, "peak": peaks, "settings": _settings(given)}
    return figures | {"machine": {"before": before, "after": machine_facts()}}


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(given, name) for name in ("tokens", "prompt_tokens", "turn", "threads", "layout")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the raw figures where asked."""
    given = _parser().parse_args(arguments)
    figures = measure(given, lambda text: print(text, file=sys.stderr, flush=True))
    print("\n".join(lines(figures)))
    if given.json is not None:
        given.json.write_text(json.dumps(figures))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--tokens", type=int, default=4096, help="of the whole run (default: %(default)s)")
    parser.add_argument("--prompt-tokens", type=int, default=256, help="of them the prompt (default: %(default)s)")
    parser.add_argument("--turn", type=int, default=64, help="passes until the other's turn (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="for every side (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a .gguf file or a folder (default: SmolLM2-135M-Instruct Q4_1)")
    said = "of the window (default: %(default)s)"
    parser.add_argument("--layout", choices=NAMES, default=EXPLORE, help=said)
    parser.add_argument("--json", type=Path, help="write every figure here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
