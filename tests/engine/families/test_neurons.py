"""Neurons of every family beside what passed the hook points of the MLP: gated and plain, parallel, normed after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

import engine
from engine import questions as ask
from engine.errors import EngineError
from engine.hooks import HookPoint
from engine.loading import Loaded
from tests.engine.families.oracle import Oracle

Seen = dict[str, Tensor]


@contextmanager
def captured(loaded: Loaded, *names: str) -> Iterator[Seen]:
    """What passes these points of every layer that has them, all passes one after the other: ``[pos, width]``."""
    seen: Seen = {}

    def keep(tensor: Tensor, point: HookPoint) -> None:
        before = [seen[point.name]] if point.name in seen else []
        seen[point.name] = torch.cat([*before, tensor[0].clone()])

    points = [f"blocks.{layer}.{name}" for layer in range(loaded.config.n_layers) for name in names]
    with loaded.model.hooks({name: keep for name in points if name in loaded.model.hook_points}):
        yield seen


def _read(loaded: Loaded, ids: list[int]) -> tuple[engine.Session, Seen]:
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    with captured(loaded, "mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post") as seen:
        list(session.generate(ids, 4))
    return session, seen


def _close(ours: np.ndarray, theirs: Tensor) -> None:
    np.testing.assert_allclose(ours, theirs.cpu().numpy(), rtol=1e-4, atol=1e-4 * max(1.0, float(theirs.abs().max())))


def test_neurons_are_those_of_the_pass(oracle: Oracle, loaded: Loaded) -> None:
    ids = oracle.ids[0].tolist()
    session, seen = _read(loaded, ids)
    for layer, spec in enumerate(loaded.config.layers):
        prefix = f"blocks.{layer}.mlp."
        if f"{prefix}hook_post" not in seen:
            with pytest.raises(EngineError, match=f"Layer {layer} is a mixture of experts"):
                session.answer(ask.AskNeurons(layer, 0))
            continue
        for position in (0, len(ids) // 2, len(ids) - 1, len(ids), None):
            answer = session.answer(ask.AskNeurons(layer, position, 10**6))
            at, given = answer.position, seen[f"{prefix}hook_post"][answer.position]
            assert answer.n_neurons == len(answer.ids) == spec.mlp.d_mlp
            assert sorted(answer.ids.tolist()) == list(range(spec.mlp.d_mlp))
            assert (np.diff(np.abs(answer.post)) <= 0).all()
            _close(answer.post, given[answer.ids])
            _close(answer.gate, seen[f"{prefix}hook_pre"][at][answer.ids])
            assert len(answer.up) == (spec.mlp.d_mlp if spec.mlp.gated else 0)
            if spec.mlp.gated:
                _close(answer.up, seen[f"{prefix}hook_pre_linear"][at][answer.ids])


def test_neurons_over_layers(oracle: Oracle, loaded: Loaded) -> None:
    ids = oracle.ids[0].tolist()
    session, seen = _read(loaded, ids)
    dense = [layer for layer in range(loaded.config.n_layers) if f"blocks.{layer}.mlp.hook_post" in seen]
    for position in (0, len(ids) // 2, None):
        answer = session.answer(ask.AskNeuronLayers(position, 5))
        assert answer.layers.tolist() == dense
        assert answer.ids.shape == answer.post.shape == (len(dense), 5)
        for row, layer in enumerate(dense):
            given = seen[f"blocks.{layer}.mlp.hook_post"][answer.position]
            _close(answer.post[row], given[answer.ids[row]])
            _close(np.abs(answer.post[row]), given.abs().sort(descending=True).values[:5])
