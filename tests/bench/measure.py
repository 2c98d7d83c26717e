"""Starts the sides, lets them run in turn so that a busy moment of the machine hits all alike, collects the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.bench.job import TITLES, Job
from tests.bench.machine import machine_facts
from tests.bench.process import Process

Note = Callable[[str], None]
TICK_RUNS = 2


@dataclass(frozen=True)
class Plan:
    """What to measure. ``spins``: values of GOMP_SPINCOUNT to compare in b and c at the most threads.

    ``layout``: of the window in c.

    ``at_once``: all sides start at the same time, which is sooner, but then the times to load mean nothing.
    """

    model: str
    sides: tuple[str, ...] = tuple(TITLES)
    threads: tuple[int, ...] = (1, 2)
    prompt_tokens: int = 512
    tokens: int = 64
    rounds: int = 5
    bandwidth_mib: int = 512
    spins: tuple[str, ...] = ()
    at_once: bool = False
    layout: str = "all"


def measure(plan: Plan, note: Note) -> dict[str, Any]:
    """Every figure of the plan, as plain data."""
    before = machine_facts()
    job, facts = prompt_job(plan.model, plan.threads[0], plan.prompt_tokens, note)
    job = replace(job, tokens=plan.tokens, bandwidth_mib=plan.bandwidth_mib, layout=plan.layout)
    figures: dict[str, Any] = {"model": facts, "settings": vars(plan) | {}, "load": {}, "peak": {}, "window": {}}
    kept = _started([*(side for side in plan.sides if side != "c"), "bandwidth"], job, plan, note)
    figures["runs"] = {n: _with_window(kept, replace(job, threads=n), plan, note, figures) for n in plan.threads}
    for side, process in kept.items():
        figures["load"][side] = process.ready
        process.close()
    figures["spin"] = _spins(job, plan, note)
    return figures | {"machine": {"before": before, "after": machine_facts()}}


def prompt_job(model: str, threads: int, tokens: int, note: Note, more: int = 0) -> tuple[Job, dict[str, Any]]:
    """A job with a prompt of this many tokens, of no side yet, and facts about the model.

    Ends the program where ``more`` tokens behind the prompt do not fit into the model's context.
    """
    note(f"making the prompt of {tokens} tokens")
    process = Process(Job("prompt", model, threads, prompt_tokens=tokens))
    facts = process.ready
    process.close()
    if tokens + more > facts["n_ctx"]:
        raise SystemExit(f"{tokens + more} tokens are more than the context of {facts['n_ctx']:,}.")
    ids, text, opening = (facts.pop(name) for name in ("ids", "text", "opening"))
    return Job("", model, threads, ids=tuple(ids), text=text, opening=opening), facts


def _started(sides: Iterable[str], job: Job, plan: Plan, note: Note) -> dict[str, Process]:
    """One after the other, so that nobody disturbs the time another takes to load."""
    processes = {}
    for side in sides:
        note(f"starting {side}: {TITLES.get(side, 'memory')}")
        processes[side] = Process(replace(job, side=side))
        if not plan.at_once:
            assert processes[side].ready is not None
    return processes


def _with_window(kept: dict[str, Process], job: Job, plan: Plan, note: Note, figures: dict[str, Any]) -> dict[str, Any]:
    """All rounds with one number of threads. The window's engine gets its threads at the start: one for each number."""
    window = _started([side for side in plan.sides if side == "c"], job, plan, note)
    processes = dict(sorted((kept | window).items()))
    runs = in_turn(processes, job.threads, plan.rounds, note)
    for name, process in processes.items():
        figures["peak"][name] = max(process.peak, figures["peak"].get(name, 0))
    for process in window.values():
        gaps = [gap for _ in range(TICK_RUNS) for gap in process.ask("ticks")["gaps"]]
        figures["window"][job.threads] = process.ready | {"gaps": gaps}
        figures["load"]["c"] = process.ready
        process.close()
    return runs


def in_turn(
    processes: Mapping[str, Process], threads: int, rounds: int, note: Note, most: int | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The figures of every round by name. Each warms up with a short run, of ``most`` tokens of the prompt."""
    for name, process in processes.items():
        process.ask("warm", **({} if most is None or name == "bandwidth" else {"most": most}))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in processes}
    for number in range(rounds):
        note(f"round {number + 1} of {rounds}, {threads} thread(s): {' '.join(processes)}")
        for name, process in processes.items():
            runs[name].append(process.ask("round", threads=threads))
    return runs


def _spins(job: Job, plan: Plan, note: Note) -> dict[str, Any]:
    """b and c, each with every spin count, in turn."""
    sides = [side for side in plan.sides if side in "bc"]
    if not plan.spins or not sides:
        return {}
    job = replace(job, threads=max(plan.threads))
    processes = {f"{s} {spin}": Process(replace(job, side=s), spin) for s in sides for spin in plan.spins}
    runs = in_turn(processes, job.threads, plan.rounds, note)
    for process in processes.values():
        process.close()
    return {"threads": job.threads, "runs": runs}
