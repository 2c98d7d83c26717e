"""How well a model foretells held-out text, and where its routers send the tokens it reads, both in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from engine.config import ModelConfig, MoESpec
from engine.hooks import HookPoint, Listener
from engine.loading import Loaded
from resources.demo_model.corpus import Stream

WINDOWS = 8  # read at once; their logits take 64 MiB


class Routing:
    """Counts what the routers of all layers do while its hooks are attached.

    ``chosen`` int64 ``[n_layers, n_experts]``: how often an expert was chosen. ``scores`` float64 of the same shape:
    the sum of its scores over all ``positions``. Raises ValueError for a model of which a layer has no experts.
    """

    def __init__(self, config: ModelConfig) -> None:
        counts = {layer.mlp.n_experts for layer in config.layers if isinstance(layer.mlp, MoESpec)}
        if len(counts) != 1 or not all(isinstance(layer.mlp, MoESpec) for layer in config.layers):
            raise ValueError("Every layer of the model must have the same number of experts.")
        shape = (config.n_layers, *counts)
        self.chosen = torch.zeros(shape, dtype=torch.int64)
        self.scores = torch.zeros(shape, dtype=torch.float64)
        self.positions = 0

    def hooks(self) -> dict[str, Listener]:
        """What to attach to the model."""
        found: dict[str, Listener] = {"hook_tokens": self._read}
        for layer in range(len(self.chosen)):
            found[f"blocks.{layer}.mlp.hook_expert_indices"] = self._choose
            found[f"blocks.{layer}.mlp.hook_router_scores"] = self._score
        return found

    def _read(self, ids: Tensor, _: HookPoint) -> None:
        self.positions += ids.numel()

    def _choose(self, indices: Tensor, point: HookPoint) -> None:
        self.chosen[point.layer] += indices.flatten().bincount(minlength=self.chosen.shape[1])

    def _score(self, scores: Tensor, point: HookPoint) -> None:
        self.scores[point.layer] += scores.double().flatten(0, -2).sum(0)

    @property
    def shares(self) -> Tensor:
        """Each expert's share of its layer's choices, float64 ``[n_layers, n_experts]``; a row sums to 1."""
        return self.chosen.double() / self.chosen.sum(-1, keepdim=True)

    @property
    def mean_scores(self) -> Tensor:
        """Each expert's mean score, float64 ``[n_layers, n_experts]``; a row sums to 1."""
        return self.scores / self.positions


@dataclass(frozen=True)
class Reading:
    """A domain read to its end: the summed loss of its ``tokens`` in nats, its ``bytes`` in UTF-8, its routing."""

    documents: int
    tokens: int
    bytes: int
    nats: float
    routing: Routing

    def figures(self) -> dict[str, float]:
        """What the card prints of it."""
        loss = self.nats / self.tokens
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "loss": round(loss, 4),
            "perplexity": round(math.exp(loss), 3),
            "bits_per_byte": round(self.nats / math.log(2) / self.bytes, 4),
        }


def read(loaded: Loaded, documents: list[str], tokenizer: Tokenizer) -> Reading:
    """Read documents one behind the other, the end-of-text token between them.

    Windows are as long as the context and do not overlap, so a token has half a context before it on average.
    """
    ids, routing, nats = torch.from_numpy(Stream(tokenizer, documents).ids), Routing(loaded.config), 0.0
    with loaded.model.hooks(routing.hooks()):
        for rows in windows(ids, loaded.config.n_ctx):
            logits = loaded.model(rows[:, :-1])
            nats += F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
    return Reading(len(documents), len(ids) - 1, sum(len(text.encode()) for text in documents), nats, routing)


def windows(ids: Tensor, length: int) -> Iterator[Tensor]:
    """Batches ``[rows, length + 1]``: each id but the first is foretold once. The last one may be shorter."""
    whole = (len(ids) - 1) // length
    every = torch.arange(whole)[:, None] * length + torch.arange(length + 1)
    yield from ids[every].split(WINDOWS) if whole else ()
    rest = ids[whole * length :]
    if len(rest) > 1:
        yield rest[None]
