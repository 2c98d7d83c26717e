"""Answers about the neurons of a layer that has one MLP and no experts, recomputed from the recorded stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine import questions as ask
from engine.errors import EngineError
from engine.frames import NeuronLayers, Neurons
from engine.gate import Answering
from engine.layer_replay import layer_tensors
from engine.model.mlp import GatedMLP, PlainMLP
from engine.recompute import mlp_known
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

_Parts = tuple[Tensor, Tensor | None, Tensor]  # gate, up, post: [d_mlp] each


def neurons(session: Session, question: ask.AskNeurons) -> Answering:
    """The strongest neurons of one layer. Raises EngineError where the layer has experts."""
    yield from ()
    layer, mlp = question.layer, _dense(session, question.layer)
    if mlp is None:
        raise EngineError(f"Layer {layer} is a mixture of experts; it has no single MLP whose neurons could be shown.")
    position = session.newest if question.position is None else question.position
    if not _known(session, layer, position):
        return _nothing(layer, position, mlp.down.in_features)
    parts = _computed(session, layer, position)
    host = to_host(_strongest(mlp, parts, question))
    return Neurons(
        layer,
        position,
        mlp.down.in_features,
        host["ids"],
        host["post"],
        host["gate"],
        host["up"],
        host["share"],
        float(host["output_norm"]),
        float(host["held"]),
        int(host["half"]),
    )


def neuron_layers(session: Session, question: ask.AskNeuronLayers) -> Answering:
    """The strongest neurons of every layer that is computed at a position: of the last pass as it was, else a layer a
    slice is recomputed."""
    position = session.newest if question.position is None else question.position
    dense = {layer: mlp for layer in range(session.loaded.config.n_layers) if (mlp := _dense(session, layer))}
    top = min([max(0, question.most), *(mlp.down.in_features for mlp in dense.values())])
    rows: dict[int, tuple[Tensor, Tensor]] = {}
    posts, captured = session.posts(), 0
    for layer in dense:
        if not _known(session, layer, position):
            continue
        post = posts.at(layer, position)
        captured += post is not None
        rows[layer] = _ranked(_computed(session, layer, position)[2] if post is None else post, top)
        yield None
    ids = torch.stack([ids for ids, _ in rows.values()]) if rows else torch.zeros(0, top, dtype=torch.int64)
    post = torch.stack([post for _, post in rows.values()]) if rows else torch.zeros(0, top)
    host = to_host({"ids": ids, "post": post})
    source = "captured" if captured == len(rows) > 0 else "captured + recomputed" if captured else "recomputed"
    return NeuronLayers(position, np.array(list(rows), np.int64), host["ids"], host["post"], source)


def _dense(session: Session, layer: int) -> GatedMLP | PlainMLP | None:
    mlp = session.loaded.model.layers[layer].mlp
    return mlp if isinstance(mlp, GatedMLP | PlainMLP) else None


def _known(session: Session, layer: int, position: int) -> bool:
    return position < mlp_known(session.trace, session.cache, layer)


def _computed(session: Session, layer: int, position: int) -> _Parts:
    points = [f"blocks.{layer}.mlp.{name}" for name in ("hook_pre", "hook_pre_linear", "hook_post")]
    model = session.loaded.model
    names = [name for name in points if name in model.points]  # a plain MLP has no up beside it
    found = layer_tensors(model, session.trace, session.cache, layer, names, position, position + 1)
    gate, *up, post = (tensor[0, 0] for tensor in found.values())
    return gate, up[0] if up else None, post


def _ranked(post: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Ids and values of the largest magnitudes; equal ones by id."""
    ids = post.float().abs().sort(descending=True, stable=True).indices[: max(0, most)]
    return ids, post[ids].float()


def _wide(row: Tensor) -> Tensor:
    """float64, on the CPU where the device has none."""
    return (torch.from_numpy(to_host({"row": row})["row"]) if row.device.type == "mps" else row).double()


def _strongest(mlp: GatedMLP | PlainMLP, parts: _Parts, question: ask.AskNeurons) -> dict[str, Tensor]:
    """The fields of Neurons that are computed."""
    gate, up, post = parts
    ids, strongest = _ranked(post, question.most)
    told = ids if question.shares else ids[:0]
    lengths = torch.linalg.vector_norm(mlp.down.weight[:, told].float(), dim=0)  # of w_i
    output_norm = torch.linalg.vector_norm(mlp.down(post[None]).float())
    sums = _wide(post).abs().sort(descending=True).values.cumsum(0)
    return {
        "ids": ids,
        "post": strongest,
        "gate": gate[ids].float(),
        "up": post.new_empty(0).float() if up is None else up[ids].float(),
        "share": strongest[: len(told)].abs() * lengths / output_norm.clamp_min(torch.finfo(torch.float32).tiny),
        "output_norm": output_norm,
        "held": _wide(strongest).abs().sum() / sums[-1].clamp_min(torch.finfo(torch.float32).tiny),
        "half": (sums < sums[-1] / 2).sum() + (sums[-1] > 0),
    }


def _nothing(layer: int, position: int, n_neurons: int) -> Neurons:
    none = np.zeros(0, np.float32)
    return Neurons(layer, position, n_neurons, np.zeros(0, np.int64), none, none, none, none, 0.0, 0.0, 0, "")
