"""Answers to the questions of ``engine/questions.py``: what is recorded, or recomputed from it, as numpy arrays.

Each answer is a generator that yields between slices of work (a few milliseconds each), so that a running pass can go
on and a newer question can cancel an older one. Call in the engine's thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor

from engine import (
    attention_answers,
    lens_answers,
    neuron_answers,
    point_answers,
    point_numbers,
    routing_answers,
    run_file_saving,
    surprise_answers,
    tensor_answers,
    untouched_answers,
)
from engine import questions as ask
from engine.column_blocks import largest, largest_by_magnitude
from engine.errors import Cancelled, EngineError, PositionError, TokenizerError
from engine.frames import (
    Answer,
    CacheState,
    CacheVectors,
    ExactValue,
    ResidualNorms,
    ResidualVectors,
    TokenFound,
)
from engine.gate import Answering
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session


@torch.inference_mode()  # as a decorator: a with-block would leak the mode to whoever runs between two slices
def answering(session: Session, question: ask.Question) -> Answering:
    """The generator that answers a question. Raises EngineError for a place the model does not have, and Cancelled
    where a new run has begun between two slices, or this one was taken elsewhere: what the work would say is of the old
    one."""
    if isinstance(question, ask.OF_FILES):
        return (yield from tensor_answers.answering(question))
    if isinstance(question, ask.AskOn):
        return (yield from session.answering_on(question.number, question.question))
    _check(session, question)
    work, trace, moves = _ANSWERS[type(question)](session, question), session.trace, session.moves
    saved = isinstance(question, ask.AskSaved)  # of the run as it stood
    with closing(work):
        while (saved or session.trace is trace) and session.moves == moves:
            try:
                part = next(work)
            except StopIteration as done:
                return done.value
            yield part
        raise Cancelled


def _check(session: Session, question: Any) -> None:
    config = session.loaded.config
    layer = getattr(question, "layer", 0)
    if not 0 <= layer < config.n_layers:
        raise EngineError(f"Layer {layer} does not exist; this model has layers 0 to {config.n_layers - 1}.")
    head = getattr(question, "head", 0)
    n_heads = config.layers[layer].attention.n_heads
    if not 0 <= head < n_heads:
        raise EngineError(f"Head {head} does not exist; layer {layer} has heads 0 to {n_heads - 1}.")
    position = getattr(question, "position", None)
    if position is not None and not 0 <= position < session.n_tokens:
        raise PositionError(f"Position {position} does not exist; the run has positions 0 to {session.n_tokens - 1}.")


def _host(**tensors: Tensor) -> dict[str, np.ndarray]:
    return to_host(tensors)


# -- residual stream ---------------------------------------------------------------------------------------------


def _residual_norms(session: Session, question: ask.AskResidualNorms) -> Answering:
    yield from ()
    trace, layers = session.trace, session.loaded.config.n_layers
    table = trace.norm_table()
    n = table.shape[1]
    block = -(-n // max(1, question.most)) or 1
    norms = _host(norms=largest(table, block))["norms"]
    return ResidualNorms(
        n,
        block,
        norms=norms[: layers + 1],
        delta_attention=norms[layers + 1 : 2 * layers + 1],
        delta_mlp=norms[2 * layers + 1 :],
        reach=np.array(trace.reach),
        reach_attention=np.array(trace.reach_attention),
        reach_mlp=np.array(trace.reach_mlp),
    )


def _residual_vectors(session: Session, question: ask.AskResidualVectors) -> Answering:
    yield from ()
    position = session.newest if question.position is None else question.position
    column = session.trace.column(position).float()  # [rows, d_model]
    block = -(-column.shape[1] // max(1, question.most))
    vectors = _host(vectors=largest_by_magnitude(column, block))["vectors"]
    source = session.trace.source(position, position + 1)
    return ResidualVectors(position, vectors, session.loaded.config.n_layers + 1, block, source)


# -- cache -------------------------------------------------------------------------------------------------------


def _cache_state(session: Session, question: ask.AskCacheState) -> Answering:
    yield from ()
    cache, per_token = session.cache, session.cache.bytes_per_token
    growth = np.array([(end, cache.bytes_after(end)) for _, end in session.trace.spans], dtype=np.int64).reshape(-1, 2)
    return CacheState(
        lengths=np.array(cache.lengths),
        firsts=np.array(cache.firsts),
        committed=cache.length,
        n_prompt=len(session.prompt),
        bytes_now=cache.bytes_now,
        bytes_allocated=cache.bytes_allocated,
        bytes_per_token=per_token,
        growth=growth,
    )


def _cache_vectors(session: Session, question: ask.AskCacheVectors) -> Answering:
    yield from ()
    layer = question.layer
    position = session.newest if question.position is None else question.position
    latent, keys, values = _stored_vectors(session, layer, position)
    host = _host(latent=latent.float(), keys=keys.float(), values=values.float())
    source = "captured + recomputed" if host["latent"].size else "captured"
    source = "recomputed" if position < session.cache.remade else source
    return CacheVectors(layer, position, host["keys"], host["values"], host["latent"], source)


def _stored_vectors(session: Session, layer: int, position: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latent ``[d]`` (empty unless the layer stores one), keys and values ``[heads, d]`` (no heads if not stored)."""
    cache = session.cache
    index = position - cache.firsts[layer]
    stored = 0 <= index < cache.lengths[layer] - cache.firsts[layer]
    column = slice(index, index + 1) if stored else slice(0, 0)
    parts = [part[:, :, column] for part in cache.parts(layer)]
    latent, keys, values = session.loaded.model.layers[layer].attn.vectors(*parts)
    return latent.flatten(), keys.flatten(0, 1), values.flatten(0, 1)


# -- one exact figure ----------------------------------------------------------------------------------------------


def _exact_value(session: Session, question: ask.AskExactValue) -> Answering:
    yield from ()
    if question.quantity == "point":
        return (yield from point_answers.exact(session, question))
    reader, source = _EXACT[question.quantity]
    try:
        value = None if min(question.index) < 0 else reader(session, *question.index)
    except IndexError:  # a place that the model does not have
        value = None
    figure = None if value is None else float(_host(value=value.float())["value"])
    if question.quantity == "residual" and value is not None:
        source = session.trace.source(question.index[1], question.index[1] + 1)
    if question.quantity in ("key", "value", "latent") and question.index[-2] < session.cache.remade:
        source = "recomputed"
    return ExactValue(question.quantity, question.index, figure, source)


def _exact_residual(session: Session, boundary: int, position: int, dimension: int) -> Tensor | None:
    if not 0 <= position < session.trace.reach[boundary]:
        return None
    return session.trace.residual(boundary, position, position + 1)[0, dimension]


def _exact_residual_norm(session: Session, boundary: int, position: int) -> Tensor | None:
    if not 0 <= position < session.trace.reach[boundary]:
        return None
    return session.trace.norm(boundary, position)


def _exact_delta(which: int) -> Callable[..., Tensor | None]:
    def read(session: Session, layer: int, position: int) -> Tensor | None:
        reach = (session.trace.reach_attention, session.trace.reach_mlp)[which]
        if not 0 <= position < reach[layer]:
            return None
        return session.trace.delta_norm(which, layer, position)

    return read


def _exact_cached(which: int) -> Callable[..., Tensor | None]:
    def read(session: Session, layer: int, head: int, position: int, dimension: int) -> Tensor | None:
        vectors = _stored_vectors(session, layer, position)[which]
        return vectors[head, dimension] if len(vectors) else None

    return read


def _exact_latent(session: Session, layer: int, position: int, dimension: int) -> Tensor | None:
    latent = _stored_vectors(session, layer, position)[0]
    return latent[dimension] if len(latent) else None


def _token(session: Session, question: ask.AskToken) -> Answering:
    """Whether a text is one token is an answer, not an error."""
    yield from ()
    try:
        return TokenFound(question.text, session.token_of(question.text))
    except TokenizerError as error:
        return TokenFound(question.text, None, str(error))


_EXACT: dict[str, tuple[Callable[..., Tensor | None], str]] = {
    **{stage: (attention_answers.exact_stage(stage), "recomputed") for stage in get_args(ask.AttentionStage)},
    "residual": (_exact_residual, "captured"),
    "residual_norm": (_exact_residual_norm, "captured"),
    "delta_attention_norm": (_exact_delta(0), "captured"),
    "delta_mlp_norm": (_exact_delta(1), "captured"),
    "key": (_exact_cached(1), "captured"),
    "value": (_exact_cached(2), "captured"),
    "latent": (_exact_latent, "captured"),
    "expert_weight": (routing_answers.exact_weight, "captured"),
    "router_score": (routing_answers.exact_score, "captured + recomputed"),
}

_ANSWERS: dict[type, Callable[[Session, Any], Answering]] = {
    ask.AskResidualNorms: _residual_norms,
    ask.AskResidualVectors: _residual_vectors,
    ask.AskAttentionGrid: attention_answers.attention_grid,
    ask.AskAttentionMap: attention_answers.attention_map,
    ask.AskAttentionRow: attention_answers.attention_row,
    ask.AskCacheState: _cache_state,
    ask.AskCacheVectors: _cache_vectors,
    ask.AskRouting: routing_answers.routing,
    ask.AskRoutingShares: routing_answers.shares,
    ask.AskRouterRow: routing_answers.router_row,
    ask.AskRoutingLayers: routing_answers.routing_layers,
    ask.AskRoutedTokens: routing_answers.routed_tokens,
    ask.AskExpertUse: routing_answers.expert_use,
    ask.AskNeurons: neuron_answers.neurons,
    ask.AskNeuronLayers: neuron_answers.neuron_layers,
    ask.AskLens: lens_answers.lens,
    ask.AskLensColumn: lens_answers.lens_column,
    ask.AskSurprise: surprise_answers.surprises,
    ask.AskPoints: point_answers.points,
    ask.AskPoint: point_answers.point,
    ask.AskPointOver: point_answers.point_over,
    ask.AskWorked: point_numbers.worked,
    ask.AskUntouched: untouched_answers.untouched,
    ask.AskToken: _token,
    ask.AskSaved: run_file_saving.answer,
    ask.AskExactValue: _exact_value,
}


def whole(work: Answering) -> Answer:
    """Run an answer to its end."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value
