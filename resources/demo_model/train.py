"""Train the embedded demo model. The learning rate follows the clock, so a run of any length ends well.

    python -m resources.demo_model.train --tales grimm.txt --minutes 105 --work work_folder

The work folder holds the state (it is taken up again when the command is repeated) and ``export/``, an ordinary
mixtral folder that is renewed as the run goes on.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim import Optimizer

from resources.demo_model.corpus import Stream, batch, streams, texts, train_tokenizer
from resources.demo_model.network import Network, Shape, export
from resources.demo_model.optimizer import optimizers, rate
from resources.demo_model.texts import END, LARGEST, Texts, sum_held_out, sum_line

TOKENS_A_STEP = 8192
BALANCE_LOSS, ROUTER_Z_LOSS, LOGIT_Z_LOSS = 0.01, 1e-3, 1e-4
SHORT, SHORT_UNTIL = 256, 0.55  # rows are short at first: attention costs half, and lines are learned first
CHUNK = 512  # positions whose logits exist at a time
SAVE_EVERY_S, SPEAK_EVERY = 300, 50


@dataclass
class Progress:
    """How far a run has come; ``log`` has what was measured on held-out text on the way."""

    seed: int
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)


def train(tales_file: Path, minutes: float, work: Path, seed: int) -> None:
    """Train until the time is up."""
    keep_memory()
    torch.manual_seed(seed)
    documents = texts(tales_file, seed)
    (work / "export").mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(documents, work / "export" / "tokenizer.json")
    found, kept = streams(tokenizer, documents), streams(tokenizer, documents, held_out=True)
    print({name: len(stream.ids) for name, stream in found.items()}, {n: len(s.ids) for n, s in kept.items()})
    network = Network(Shape())
    moves = optimizers(network)
    progress = _taken_up(work, network, moves, seed)
    _run(network, moves, progress, found, kept, tokenizer, minutes * 60, work)


def _run(
    network: Network,
    moves: list[Optimizer],
    progress: Progress,
    found: dict[str, Stream],
    kept: dict[str, Stream],
    tokenizer: Tokenizer,
    seconds: float,
    work: Path,
) -> None:
    """Learn until the time is up, saving on the way and at the end."""
    began = time.monotonic() - progress.seconds
    saved = progress.seconds
    while (share := (time.monotonic() - began) / seconds) < 1:
        for move in moves:
            for group in move.param_groups:
                group["lr"] = group.setdefault("full_lr", group["lr"]) * rate(share)
        length = SHORT if share < SHORT_UNTIL else network.shape.n_ctx
        draw = np.random.default_rng((progress.seed, progress.step))
        torch.manual_seed(progress.seed + progress.step)  # of dropout: a run that is taken up again draws the same
        losses = learn(network, moves, *batch(found, TOKENS_A_STEP // length, length, draw))
        progress.step, progress.tokens = progress.step + 1, progress.tokens + TOKENS_A_STEP
        progress.seconds = time.monotonic() - began
        if progress.step % SPEAK_EVERY == 0:
            print(
                f"{share:6.1%}  step {progress.step}  {losses}  {progress.tokens / progress.seconds:.0f} tok/s",
                flush=True,
            )
        if progress.seconds - saved > SAVE_EVERY_S:
            saved = progress.seconds
            _save(network, moves, progress, kept, tokenizer, work)
    _save(network, moves, progress, kept, tokenizer, work)


def learn(network: Network, moves: list[Optimizer], ids: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """One step on a batch, ``[rows, length + 1]``. Logits are formed a chunk at a time: whole, they cost a third."""
    given = torch.from_numpy(ids)
    targets, weighed = given[:, 1:].flatten(), torch.from_numpy(weights[:, 1:]).flatten()
    with torch.autocast("cpu", torch.bfloat16):
        hidden, balance, z = network(given[:, :-1])
    loss, gradient = _unembedding(network, hidden.detach().flatten(0, 1), targets, weighed)
    torch.autograd.backward([hidden, BALANCE_LOSS * balance + ROUTER_Z_LOSS * z], [gradient.view_as(hidden), None])
    for move in moves:
        move.step()
        move.zero_grad(set_to_none=True)
    return {"loss": round(loss, 3), "balance": round(balance.item(), 3)}


@torch.no_grad()
def _unembedding(network: Network, rows: Tensor, targets: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """The mean loss, and its gradient by ``rows``; that of the embedding is left in ``embed.grad``.

    By hand and a chunk of positions at a time: autograd walks over a vocabulary of logits three times as often.
    With s the softmax, l = log Σ exp: d(w · (l - logit_t) + c · l²) = (w + 2 · c · l) · s - w at t.
    """
    embed = network.embed.detach().bfloat16()
    of_embed, of_rows, total = torch.zeros_like(network.embed), [], 0.0
    for read, target, weight in zip(rows.split(CHUNK), targets.split(CHUNK), weights.split(CHUNK), strict=True):
        read, place = read.bfloat16(), target[:, None]
        logits = F.linear(read, embed).float()
        found, highest = logits.gather(-1, place)[:, 0], logits.amax(-1, keepdim=True)
        mass = logits.sub_(highest).exp_().sum(-1)
        whole = mass.log() + highest[:, 0]
        total += (weight * (whole - found)).sum().item()
        logits.mul_(((weight + 2 * LOGIT_Z_LOSS * whole) / mass / len(rows))[:, None])
        slope = logits.scatter_add_(-1, place, -weight[:, None] / len(rows)).bfloat16()
        of_rows.append(slope @ embed)
        of_embed += slope.T @ read
    network.embed.grad = of_embed
    return total / len(rows), torch.cat(of_rows)


@torch.no_grad()
def measure(network: Network, kept: dict[str, Stream], tokenizer: Tokenizer, rows: int = 24) -> dict[str, float]:
    """Loss per token by domain on held-out text, and the share of held-out sums that are right."""
    network.eval()
    figures = {}
    for name, stream in kept.items():
        every = range(0, len(stream.ids) - network.shape.n_ctx - 1, network.shape.n_ctx)
        chosen = [stream.ids[start : start + network.shape.n_ctx + 1] for start in list(every)[:rows]]
        ids = torch.from_numpy(np.stack(chosen))
        logits = F.linear(network(ids[:, :-1])[0], network.embed)
        figures[name] = round(F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item(), 4)
    figures["sums right"] = round(_sums_right(network, tokenizer), 4)
    network.train()
    return figures


def _sums_right(network: Network, tokenizer: Tokenizer, count: int = 400) -> float:
    pairs = [(a, b) for a in range(10, LARGEST + 1) for b in range(10, LARGEST + 1) if sum_held_out(a, b)]
    lines = [sum_line(a, b, sign) for a, b in pairs[:: max(1, 2 * len(pairs) // count)] for sign in "+-"]
    encoded = [tokenizer.encode(line).ids for line in lines]
    longest, newline = max(map(len, encoded)), tokenizer.encode("\n").ids[0]
    ids = torch.tensor([found + [newline] * (longest - len(found)) for found in encoded])
    guessed = F.linear(network(ids[:, :-1])[0], network.embed).argmax(-1)
    asked = [tokenizer.encode(line[: line.index("=") + 1]).ids for line in lines]
    right = [
        guess[len(question) - 1 : len(line) - 1].tolist() == line[len(question) :]
        for guess, question, line in zip(guessed, asked, encoded, strict=True)
    ]
    return sum(right) / len(right)


def _tokenizer(documents: dict[str, Texts], path: Path) -> Tokenizer:
    if not path.exists():
        train_tokenizer(documents, Shape().d_vocab).save(str(path))
    return Tokenizer.from_file(str(path))


def _save(
    network: Network,
    moves: list[Optimizer],
    progress: Progress,
    kept: dict[str, Stream],
    tokenizer: Tokenizer,
    work: Path,
) -> None:
    """Measure, export, and keep the state in a file that is replaced only when it is whole."""
    began = time.monotonic()
    progress.log.append(
        {"step": progress.step, "seconds": round(progress.seconds), **measure(network, kept, tokenizer)}
    )
    print(progress.log[-1], flush=True)
    export(network, work / "export", tokenizer.encode(END).ids[0])
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for index, move in enumerate(moves):
        for number, values in move.state_dict()["state"].items():
            state |= {f"move{index}.{number}.{name}": value for name, value in values.items()}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, work / "state.part")
    (work / "state.part").replace(work / "state.safetensors")
    (work / "progress.json").write_text(json.dumps(vars(progress), indent=1) + "\n")
    print(f"saved in {time.monotonic() - began:.1f} s", flush=True)


def _taken_up(work: Path, network: Network, moves: list[Optimizer], seed: int) -> Progress:
    """The state of an interrupted run, or a beginning."""
    if not (work / "state.safetensors").exists():
        return Progress(seed)
    state = load_file(work / "state.safetensors")
    network.load_state_dict({name[8:]: tensor for name, tensor in state.items() if name.startswith("network.")})
    for index, move in enumerate(moves):
        whole = move.state_dict()
        for name, tensor in state.items():
            if name.startswith(f"move{index}."):
                _, number, part = name.split(".")
                whole["state"].setdefault(int(number), {})[part] = tensor
        move.load_state_dict(whole)
    return Progress(**json.loads((work / "progress.json").read_text()))


def keep_memory() -> None:
    """Let glibc keep freed memory: asking the system for every large tensor again costs a sixth of the time."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)
        ctypes.CDLL(None).mallopt(mmap_threshold, 2**30)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tales", type=Path, required=True, help="the tales, <|endoftext|> between them")
    parser.add_argument("--minutes", type=float, default=105)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1812)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    train(given.tales, given.minutes, given.work, given.seed)


if __name__ == "__main__":
    main()
