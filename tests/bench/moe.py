"""``python -m tests.bench.moe``: a mixture of experts of random weights, the engine beside transformers.

Speed depends on the shapes alone, so no published model is needed. Prefill goes expert by expert over the positions
that chose it; decode touches only the chosen experts' weights.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.bench.job import TITLES, Job
from tests.bench.machine import machine_facts
from tests.bench.options import numbers
from tests.bench.process import Process
from tests.bench.summary import of, ratio, spread, tokens_by_side

SIDES = ("a", "d")
VOCABULARY = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the model, measure, print; 1 where the sides made different tokens."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        active, every = build(given, Path(folder))
        runs = {n: _measured(given, folder, n) for n in given.threads}
    print("\n".join(lines(given, runs, active, every)))
    return int(len(set().union(*tokens_by_side({"runs": runs}).values())) != 1)


def build(given: argparse.Namespace, folder: Path) -> tuple[int, int]:
    """Save the model of transformers that is measured: (parameters that one position uses, all parameters)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3_moe", **_shape(given))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    every = sum(parameter.numel() for parameter in model.parameters())
    expert = 3 * given.width * given.expert_width
    return every - given.layers * (given.experts - given.top) * expert, every


def _shape(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": given.width,
        "num_hidden_layers": given.layers,
        "num_attention_heads": max(2, given.width // 64),
        "num_key_value_heads": max(1, given.width // 128),
        "head_dim": 64,
        "max_position_embeddings": 4096,
        "num_experts": given.experts,
        "num_experts_per_tok": given.top,
        "moe_intermediate_size": given.expert_width,
        "norm_topk_prob": True,
        "initializer_range": 0.05,  # logits far enough apart that rounding does not choose the token
    }


def _measured(given: argparse.Namespace, folder: str, threads: int) -> dict[str, list[dict[str, Any]]]:
    """Both sides in turn, so that a busy moment of the machine hits both."""
    ids = random.Random(0).choices(range(3, VOCABULARY), k=given.prompt_tokens)
    processes = {side: Process(Job(side, folder, threads, given.tokens, tuple(ids))) for side in SIDES}
    for process in processes.values():
        process.ask("warm")
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(given.rounds):
        for side, process in processes.items():
            runs[side].append(process.ask("round", threads=threads))
    for process in processes.values():
        process.close()
    return runs


def lines(given: argparse.Namespace, runs: dict[int, Any], active: int, every: int) -> Iterator[str]:
    """The report."""
    facts = machine_facts()
    yield f"Machine    {facts['cpu']}, {facts['cores']} cores, {facts['system']}"
    yield "Libraries  " + ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    yield (
        f"Model      {given.layers} layers, {given.width} wide, top {given.top} of {given.experts} experts of width "
        f"{given.expert_width}; {every:,} parameters, {active:,} of them used by a position; float32"
    )
    yield f"Run        prefill of {given.prompt_tokens} tokens, {given.tokens} decode passes, {given.rounds} rounds"
    for threads, sides in runs.items():
        yield ""
        yield f"{f'{threads} thread' + 's' * (threads != 1):32}{'prefill tokens/s':>26}{'decode tokens/s':>26}"
        for side in SIDES:
            yield f"{side}  {TITLES[side]:29}{_rate(sides[side], 'prefill')}{_rate(sides[side], 'decode')}"
        yield f"{'a/d':32}{_over(sides, 'prefill')}{_over(sides, 'decode')}"
    made = tokens_by_side({"runs": runs})
    yield ""
    yield "greedy tokens: " + ("equal in every round" if len(set().union(*made.values())) == 1 else "DIFFER")


def _rate(rounds: Any, figure: str) -> str:
    return "{:>26}".format("{:.1f} ({:.1f} to {:.1f})".format(*spread(of(rounds, figure))))


def _over(sides: dict[str, Any], figure: str) -> str:
    return "{:>26}".format("{:.2f} ({:.2f} to {:.2f})".format(*ratio(sides["a"], sides["d"], figure)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.moe", description=__doc__)
    parser.add_argument("--threads", type=numbers, default=(1, 2), help="for both sides (default: 1,2)")
    sizes = {"layers": 8, "width": 512, "experts": 32, "expert-width": 512, "top": 4}
    for name, value in {**sizes, "prompt-tokens": 256, "tokens": 32, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
