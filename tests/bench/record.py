"""``python -m tests.bench.record``: what recording costs, beside the bare engine, transformers and TransformerLens.

At each length of prompt: prefill and decode, the sides in turn in one run, each in a process of its own. Peak memory is
what the process held at most above the loaded model. Side f needs the extra ``bench``; ``--lens-python`` names the
interpreter of an environment that has it, where that is another one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from app.layout_names import ALL, NAMES
from tests.bench.job import RECORD_TITLES, Job
from tests.bench.machine import machine_facts
from tests.bench.measure import Note, in_turn, prompt_job
from tests.bench.options import numbers, sides
from tests.bench.process import Process
from tests.bench.record_report import lines
from tests.real import real_gguf

LENGTHS = (256, 512, 1024, 2048, 4096)
WARM_TOKENS = 64
FREE_SHARE = 0.8  # of the free memory that a side may take


@dataclass(frozen=True)
class Plan:
    """What to measure. ``lens_python``: the interpreter of side f; the others run in this one."""

    model: str
    sides: tuple[str, ...] = tuple(RECORD_TITLES)
    lengths: tuple[int, ...] = LENGTHS
    tokens: int = 32
    rounds: int = 3
    threads: int = 2
    bandwidth_mib: int = 512
    layout: str = "all"
    lens_python: str = sys.executable


def measure(plan: Plan, note: Note) -> dict[str, Any]:
    """Every figure of the plan, as plain data."""
    before, lengths, facts = machine_facts(), {}, {}
    for length in plan.lengths:
        job, facts = prompt_job(plan.model, plan.threads, length, note, more=plan.tokens + 1)
        left_out = dict(_left_out(plan, length, facts))
        sides = [side for side in plan.sides if side not in left_out]
        job = replace(job, tokens=plan.tokens, bandwidth_mib=plan.bandwidth_mib, layout=plan.layout, endless=True)
        lengths[length] = {"left out": left_out, **_measured(plan, job, sides, note)}
    machine = {"before": before, "after": machine_facts()}
    return {"model": facts, "settings": vars(plan) | {}, "lengths": lengths, "machine": machine}


def _measured(plan: Plan, job: Job, sides: Sequence[str], note: Note) -> dict[str, Any]:
    """All sides are loaded at once: how long that takes means nothing here."""
    note(f"{len(job.ids)} tokens: loading {' '.join(sides)}")
    python = {"f": plan.lens_python}
    names = [*sides, "bandwidth"]
    processes = {side: Process(replace(job, side=side), python=python.get(side, sys.executable)) for side in names}
    ready = {side: process.ready for side, process in processes.items()}
    runs = in_turn(processes, plan.threads, plan.rounds, note, most=WARM_TOKENS)
    for process in processes.values():
        process.close()
    return {"runs": runs, "versions": {side: said["version"] for side, said in ready.items() if "version" in said}}


def _left_out(plan: Plan, length: int, facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The sides that cannot run at this length, and why."""
    if "f" in plan.sides and not _has_lens(plan.lens_python):
        yield "f", "TransformerLens is not installed here; pip install -e '.[test,bench]', or give --lens-python"
        plan = replace(plan, sides=tuple(side for side in plan.sides if side != "f"))
    free = int(FREE_SHARE * psutil.virtual_memory().available)
    for side in set(plan.sides) & set(_KEPT):
        needed = _PEAK[side] * needed_bytes(side, length, facts)
        if needed > free:
            yield side, f"it needs {needed / 1e9:.1f} GB for {length:,} tokens, and {free / 1e9:.1f} GB may be taken"


def _has_lens(python: str) -> bool:
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('transformer_lens') is None)"
    return subprocess.run([python, "-c", look], capture_output=True).returncode == 0


def needed_bytes(side: str, length: int, facts: dict[str, Any]) -> int:
    """What a side that keeps everything takes in float32 for a prompt of this length, beside the model.

    Maps that are kept of every head, three of one layer's while it attends, and what is kept per position.
    """
    maps, per_position = _KEPT[side]
    attended = maps * facts["n_heads"] + 3 * facts["n_heads"] / facts["n_layers"]
    return round(4 * (attended * length**2 + per_position(facts) * length))


# maps of each head; floats per position: hidden states, or the eleven hooks of a layer that are as wide as the stream,
# three as wide as the MLP, and logits, which TransformerLens makes of all positions
_KEPT = {
    "e": (1, lambda facts: (facts["n_layers"] + 1) * facts["d_model"]),
    "f": (2, lambda facts: 12 * facts["n_layers"] * facts["d_model"] + 3 * facts["d_mlp"] + 2 * facts["d_vocab"]),
}
_PEAK = {"e": 1.0, "f": 1.5}  # of what it keeps, while it works: TransformerLens measured at 1,024 tokens


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the raw figures where asked; 1 where the sides made different tokens."""
    given = _parser().parse_args(arguments)
    path = given.__dict__.pop("json")
    given.model = str(given.model or real_gguf())
    figures = measure(Plan(**vars(given)), lambda text: print(text, file=sys.stderr, flush=True))
    report = list(lines(figures))
    print("\n".join(report))
    if path is not None:
        path.write_text(json.dumps(figures))
    return int(any("DIFFER" in line for line in report))


def _parser() -> argparse.ArgumentParser:
    plan = Plan("")
    parser = argparse.ArgumentParser(prog="python -m tests.bench.record", description=__doc__)
    parser.add_argument("--lengths", type=numbers, default=plan.lengths, help="of the prompt (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=plan.tokens, help="decode passes a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=plan.rounds, help="of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=plan.threads, help="for every side (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a .gguf file or a folder (default: SmolLM2-135M-Instruct Q4_1)")
    parser.add_argument(
        "--only", dest="sides", type=sides(RECORD_TITLES), default=plan.sides, help=f"of {','.join(RECORD_TITLES)}"
    )
    parser.add_argument("--bandwidth-mib", type=int, default=512, help="memory to read (default: %(default)s)")
    parser.add_argument("--layout", choices=NAMES, default=ALL, help="of side c (default: %(default)s)")
    parser.add_argument("--lens-python", default=sys.executable, help="the interpreter that has TransformerLens")
    parser.add_argument("--json", type=Path, help="write every figure of every round here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
