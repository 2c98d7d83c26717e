"""``python -m tests.bench.going``: how soon another token or layer is there, for every kind of question of every panel.

A run of so many tokens is over; then a user goes to other tokens and layers, each time to one that was not looked at
before. What is recorded shall be there within 50 ms, what is recomputed of one layer within 300 ms: the engine's
answers by themselves, and once through the real window, from the pin to the picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import engine
from engine.session import Session
from tests.bench.going_kinds import Kind, kinds
from tests.bench.job import Job
from tests.bench.machine import machine_facts
from tests.bench.process import ROOT, environment
from tests.bench.prompt import PromptSide

DECODED = 24  # tokens after the prompt: decode is there too
PATIENCE_S = 600.0

Going = dict[str, Any]  # milliseconds: first, whole, slice


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.going", description=__doc__)
    parser.add_argument("--model", default="smollm2", help="default: %(default)s")
    parser.add_argument("--tokens", type=int, default=1000, help="of the prompt (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="places gone to (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    given = parser.parse_args(arguments)
    prompt = PromptSide(Job("prompt", given.model, given.threads, prompt_tokens=given.tokens)).ready()
    answered = answers(given.model, prompt["ids"], given.rounds, given.threads)
    shown = window(given.model, prompt["text"], given.rounds, given.threads)
    facts = machine_facts() | {"model": prompt["name"], "tokens": given.tokens, "threads": given.threads}
    print("\n".join(lines(answered, shown, facts)))
    return 0


# ---- the engine by itself ----------------------------------------------------------------------------------------


def answers(model: str, ids: Sequence[int], rounds: int, threads: int) -> list[tuple[Kind, list[Going]]]:
    """Each kind of question at ``rounds`` places of a finished run."""
    import torch

    torch.set_num_threads(threads)
    session = Session(engine.load(model, device="cpu", dtype="float32"), engine.Sampling(greedy=True))
    for _ in session.generate(list(ids), DECODED):
        pass
    session.answer(kinds(session.loaded.model_frame())[0].question(0, 0))
    n_layers = session.loaded.config.n_layers
    return [
        (kind, [answer(session, kind, *place) for place in places(rounds, n_layers, session.n_read)])
        for kind in kinds(session.loaded.model_frame())
    ]


def places(rounds: int, n_layers: int, n_positions: int) -> Iterator[tuple[int, int]]:
    """Layers and positions: a layer that was not looked at just before, positions of prefill and decode in turn."""
    for index in range(rounds):
        layer = (1 + index * 7) % n_layers
        yield layer, n_positions - 2 if index % 2 else (n_positions * (index + 1)) // (rounds + 2)


def answer(session: Session, kind: Kind, layer: int, position: int) -> Going:
    """The first picture, which may not be whole, the whole answer, and the longest slice of work."""
    began = before = time.perf_counter()
    work, first, longest = session.answering(kind.question(layer, position)), 0.0, 0.0
    while True:
        try:
            part = next(work)
            done = False
        except StopIteration:
            part, done = None, True
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
        if first == 0.0 and (done or part is not None):
            first = now - began
        if done:
            return {"first": first * 1e3, "whole": (now - began) * 1e3, "slice": longest * 1e3}


# ---- through the window ------------------------------------------------------------------------------------------


def window(model: str, text: str, rounds: int, threads: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds from the pin to the picture, by panel, for another token and another layer."""
    job = {"model": model, "text": text, "rounds": rounds, "threads": threads, "tokens": DECODED}
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.going_window"],
            input=json.dumps(job),
            cwd=ROOT,
            env=environment() | {"XDG_CONFIG_HOME": home, "QT_QPA_PLATFORM": "offscreen"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    if done.returncode:
        raise SystemExit(f"The window ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


# ---- the report --------------------------------------------------------------------------------------------------


def lines(
    answered: Sequence[tuple[Kind, Sequence[Going]]],
    shown: dict[str, dict[str, list[float]]],
    facts: dict[str, Any],
) -> Iterator[str]:
    """One line a kind of question, then one a panel; all in milliseconds."""
    loads = " ".join(f"{n:.2f}" for n in facts["load_average"])
    yield f"Machine    {facts['cpu']}, {facts['cores']} cores, {facts['system']}; load average after {loads}"
    yield f"Run        {facts['model']}, {facts['tokens']} tokens and {DECODED} more, {facts['threads']} threads"
    yield f"{'Answers, ms':<54}{'first':>9}{'whole':>9}{'at most':>9}{'slice':>8}{'goal':>7}"
    for kind, rounds in answered:
        first, whole = (median(one[figure] for one in rounds) for figure in ("first", "whole"))
        most, longest = (max(one[figure] for one in rounds) for figure in ("whole", "slice"))
        figures = f"{first:>9.1f}{whole:>9.1f}{most:>9.1f}{longest:>8.1f}"
        yield f"{kind.panel + ': ' + kind.what:<54}{figures}{goal_text(kind.goal, whole)}"
    yield f"{'The window, ms from the pin to the picture':<54}{'token':>9}{'at most':>9}{'layer':>9}{'at most':>9}"
    for panel, ways in shown.items():
        figures = "".join(f"{median(ways[way]):>9.1f}{max(ways[way]):>9.1f}" for way in ("token", "layer"))
        yield f"{panel:<54}{figures}"


def goal_text(goal: float | None, reached: float) -> str:
    """The goal, and whether it is reached; nothing where there is none."""
    if goal is None:
        return f"{'':>7}"
    return f"{goal:>7.0f} {'reached' if reached <= goal else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
