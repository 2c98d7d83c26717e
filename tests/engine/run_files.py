"""Runs that are saved for tests, every question that can be asked of one, and files that were tampered with."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import engine
from engine import questions as ask
from engine.config import MLPSpec, MoESpec
from engine.errors import EngineError, RunFileError
from engine.frames import StepFrame
from engine.loading import Loaded
from engine.run_file_facts import Beside
from engine.run_file_opening import open_run
from engine.run_file_saving import save_run
from engine.settings import Record

NOT_OF_RUNS = {*ask.OF_FILES, *ask.OF_HEADERS, ask.AskSaved, ask.AskOn}


def made(loaded: Loaded, prompt: Any, steps: int, **settings: Any) -> tuple[engine.Session, list[StepFrame]]:
    """A run and the frames of its steps."""
    session = engine.Session(loaded, engine.Sampling(**(settings or {"greedy": True})))
    return session, [step.frame() for step in session.generate(prompt, steps)]


def saved(path: Path, session: engine.Session, steps: list[StepFrame], **beside: Any) -> Path:
    save_run(path, session, steps, Beside(**beside))
    return path


class Kept:
    """A session and the frames of its steps, by the numbers of their tokens, as a window keeps them."""

    def __init__(self, session: engine.Session) -> None:
        self.session = session
        self.frames: dict[int, StepFrame] = {}

    def on(self, tokens: int) -> None:
        """Until the output has so many, also behind an end of sequence."""
        while len(self.session.output) < tokens:
            for step in self.session.steps(tokens - len(self.session.output)):
                self.frames[step.number] = step.frame()

    def branch(self, place: int) -> int:
        """Another token in the place of one of the output."""
        session, position = self.session, len(self.session.prompt) + place
        before = self.frames[session.tokens[place].number]
        number = session.branch(position, (session.output[place] + 1) % session.loaded.config.d_vocab)
        made = session.tokens[-1]
        assert made.sampling is not None
        pieces = tuple(map(session.vocabulary_piece, made.sampling.ids.tolist()))
        self.frames[made.number] = replace(before, piece=made.piece, sampling=made.sampling, candidates=pieces)
        return number

    @property
    def steps(self) -> list[StepFrame]:
        """Of the path that the session stands on."""
        return [self.frames[token.number] for token in self.session.tokens]

    def saved(self, path: Path) -> Path:
        save_run(path, self.session, self.steps, others=self.frames)
        return path


def kept_run(loaded: Loaded, prompt: Any, tokens: int, record: Record | None = None) -> Kept:
    """A run of so many tokens."""
    sampling = engine.Sampling(temperature=0.9, top_k=20, repetition_penalty=1.1, seed=7)
    run = Kept(engine.Session(loaded, sampling, record=record or Record()))
    run.session.begin(prompt)
    run.on(tokens)
    return run


def refused(path: Path) -> str:
    """The sentence, which must come within a second."""
    began = time.perf_counter()
    with pytest.raises(RunFileError) as refusal:
        open_run(path)
    assert time.perf_counter() - began < 1.0
    sentence = str(refusal.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def questions(loaded: Loaded, n_read: int) -> Iterator[Any]:
    """Every class of question of a run, at first, middle and last places of the model."""
    config, seen = loaded.config, set()
    layers, positions = sorted({0, config.n_layers // 2, config.n_layers - 1}), sorted({0, n_read // 2, n_read - 1})
    for question in (*_of_run(n_read), *_of_layers(config, layers, positions)):
        seen.add(type(question))
        yield question
    missing = set(get_args(ask.Question)) - NOT_OF_RUNS - seen
    has = {MLPSpec: {ask.AskNeurons}, MoESpec: {question for question in missing if "out" in question.__name__.lower()}}
    absent = set().union(*(has[kind] for kind in has if not any(isinstance(s.mlp, kind) for s in config.layers)))
    assert missing <= absent | {ask.AskExpertUse}, f"no test asks {missing - absent}"


def _of_run(n_read: int) -> Iterator[Any]:
    yield ask.AskResidualNorms()
    yield ask.AskResidualNorms(most=7)
    yield ask.AskCacheState()
    yield from (ask.AskToken("a"), ask.AskToken("no single token"))
    yield ask.AskSurprise(0, n_read)
    yield ask.AskLens(0, min(8, n_read))
    yield from (ask.AskExactValue("residual", (1, n_read - 1, 3)), ask.AskExactValue("residual_norm", (0, 0)))
    yield from (
        ask.AskExactValue("delta_mlp_norm", (0, 1)),
        ask.AskExactValue("pattern", (0, 0, n_read - 1, n_read - 1)),
    )
    yield from (ask.AskExactValue("key", (0, 0, n_read - 1, 0)), ask.AskExactValue("latent", (0, n_read - 1, 0)))


def _of_layers(config: Any, layers: list[int], positions: list[int]) -> Iterator[Any]:
    for position in positions:
        yield ask.AskResidualVectors(position)
        yield ask.AskNeuronLayers(position)
        yield ask.AskRoutingLayers(position)
        yield ask.AskLensColumn(position)
        yield ask.AskUntouched(position)
    for layer in layers:
        last_head = config.layers[layer].attention.n_heads - 1
        yield ask.AskAttentionGrid(layer)
        yield ask.AskAttentionMap(layer, last_head)
        yield from (ask.AskAttentionRow(layer, position) for position in positions)
        yield from (ask.AskCacheVectors(layer, position) for position in positions)
        yield from (ask.AskPoints(layer, position) for position in positions)
        for name in ("attn.hook_q", "attn.hook_z", "hook_resid_mid", "hook_mlp_out"):
            yield ask.AskPoint(f"blocks.{layer}.{name}", positions[-1])
        yield ask.AskPointOver(f"blocks.{layer}.hook_resid_pre", 0, 0, positions[-1])
        yield ask.AskWorked(f"blocks.{layer}.hook_resid_post", positions[-1], (3,))
        yield from _of_mlp(config, layer, positions)


def _of_mlp(config: Any, layer: int, positions: list[int]) -> Iterator[Any]:
    if isinstance(config.layers[layer].mlp, MLPSpec):
        yield from (ask.AskNeurons(layer, position) for position in positions)
        return
    yield from (ask.AskRouting(layer), ask.AskRoutingShares(layer), ask.AskRoutedTokens(layer))
    yield from (ask.AskRouterRow(layer, position) for position in positions)
    yield from (ask.AskExpertUse(layer, 1), ask.AskExactValue("expert_weight", (layer, 1, positions[-1])))


def answered(session: Any, question: Any) -> Any:
    """The answer, or the sentence that refuses it."""
    try:
        return session.answer(question)
    except EngineError as error:
        return str(error)


def differences(one: Any, other: Any, tolerance: float = 0.0, but: tuple[str, ...] = ()) -> list[str]:
    """The fields in which two answers differ by more than ``tolerance``, relative to the largest figure."""
    if not is_dataclass(one) or type(one) is not type(other):
        return [] if one == other else [f"{one!r:.200} and {other!r:.200}"]
    found = []
    for field in fields(one):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        if field.name not in but and not _same(mine, its, tolerance):
            found.append(f"{type(one).__name__}.{field.name}")
    return found


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, np.ndarray):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        if not tolerance or one.dtype.kind != "f":
            return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        room = tolerance * max(1e-3, float(np.abs(one[np.isfinite(one)]).max(initial=0.0)))
        return np.allclose(one, other, rtol=0.0, atol=room, equal_nan=True)
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= tolerance * max(1.0, abs(one)) or (one != one and other != other)
    if is_dataclass(one):
        return not differences(one, other, tolerance)
    if isinstance(one, tuple) and one and (is_dataclass(one[0]) or isinstance(one[0], float)):
        return len(one) == len(other) and all(_same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    return one == other


def rewritten(source: Path, target: Path, changes: Mapping[str, Callable[[bytes], bytes | None]]) -> Path:
    """A copy with some members changed (None: left out), under sums that are right: only what they say is wrong."""
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = changes.get(name, lambda data: data)(before.read(name))
            if data is not None:
                after.writestr(name, data)
    return target


def with_facts(change: Callable[[dict[str, Any]], Any]) -> Mapping[str, Callable[[bytes], bytes]]:
    """For ``rewritten``: another run.json."""

    def changed(data: bytes) -> bytes:
        table = json.loads(data)
        change(table)
        return json.dumps(table).encode()

    return {"run.json": changed}
