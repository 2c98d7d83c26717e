"""Open a saved run: as a session that can go on where its model is on this computer, else as a recorded run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from engine.branches import Place, Tail, Token
from engine.branching import token_of_step
from engine.errors import Cancelled, EngineError
from engine.frames import ModelFrame, Piece, ProgressFrame, StepFrame
from engine.loading import DTYPES, Loaded, layer_facts, load
from engine.point_table import outer_points
from engine.recorded_run import AbsentLoaded, AbsentModel, RecordedCache, RecordedRun
from engine.refill import cache_of_tail
from engine.refill import made_again as made_again_of_passes
from engine.run_file_aside import cache_tail, trace_tail
from engine.run_file_edits import check_made, forgotten, made_again
from engine.run_file_facts import RunFacts
from engine.run_file_model import absence, find_model
from engine.run_file_reading import RunFile, require_memory
from engine.run_file_shapes import block_shapes
from engine.run_file_tree import spans_of, tree_of
from engine.settings import Record
from engine.stream_store import BLOCK

if TYPE_CHECKING:
    from engine.gate import Gate
    from engine.session import Session

Progress = Callable[[ProgressFrame], None]


def _silent(frame: ProgressFrame) -> None:
    return None


@dataclass(frozen=True)
class OpenedRun:
    """A run as it was saved. ``steps`` are those of the path that it stands on, ``others`` by the numbers of their
    tokens those of other branches. ``why``: the sentence that says which model is missing, "" where ``session`` is a
    live one that can go on. ``loaded`` is its model then."""

    path: Path
    session: Session | RecordedRun
    facts: RunFacts
    prompt: tuple[Piece, ...]
    steps: tuple[StepFrame, ...]
    others: Mapping[int, StepFrame]
    why: str = ""
    loaded: Loaded | None = field(default=None, repr=False)

    @property
    def model_frame(self) -> ModelFrame:
        """The model, or what is known of it."""
        return self.session.loaded.model_frame()


def open_run(
    path: Path,
    *,
    loaded: Loaded | None = None,
    others: Iterable[str] = (),
    device: str = "auto",
    gate: Gate | None = None,
    record: Record | None = None,
    progress: Progress = _silent,
) -> OpenedRun:
    """Open a saved run, with its model where that is on this computer: nothing is downloaded for it.

    Args:
        loaded: a model that is loaded already; it is taken if it is the run's.
        others: sources to look for the model in, besides the one that the file names.
        device: for loading the model. The type is the run's own.
        gate, record: as for Session.
        progress: called now and then; what it raises (Cancelled) ends the opening.

    Raises:
        RunFileError, MemoryShortage: with one sentence; nothing is kept of what was read.
    """
    with RunFile(path) as file:
        steps, prompt = file.steps, file.prompt  # first: these are small, and say most of what can be wrong
        file.settings, file.asides  # noqa: B018  # read now
        model, why = _model(file, loaded, others, device, progress)
        if model is not None:
            session: Session | RecordedRun = _live(file, model, gate, record, progress)
        else:
            session = _recorded(file, why, record, progress)
        frames = _branches(session, file, progress)
    return OpenedRun(path, session, file.facts, prompt, steps, frames, why, model)


def _model(
    file: RunFile, loaded: Loaded | None, others: Iterable[str], device: str, progress: Progress
) -> tuple[Loaded | None, str]:
    """The run's model, or why there is none."""
    facts = file.facts.model
    file.dtype  # noqa: B018  # one that can be computed in
    if loaded is not None and loaded.identity == facts.identity and loaded.dtype == file.dtype:
        return _understood_alike(file, loaded)
    source = find_model(facts, others)
    if source is None:
        return None, absence(facts)
    try:
        return _understood_alike(file, load(source, device=device, dtype=facts.dtype, progress=progress))
    except Cancelled:
        raise
    except EngineError as error:
        return None, f"What is not recorded takes the model {facts.name}, which cannot be loaded. {error}"


def _understood_alike(file: RunFile, loaded: Loaded) -> tuple[Loaded | None, str]:
    if loaded.config == file.facts.model.config:
        return loaded, ""
    return None, (
        f"What is not recorded takes the model {loaded.name}, whose configuration this version of Fluoroscope reads "
        "otherwise; run the prompt again."
    )


@torch.inference_mode()
def _live(file: RunFile, loaded: Loaded, gate: Gate | None, record: Record | None, progress: Progress) -> Session:
    from engine.session import Session

    branch = file.facts.branch
    session = Session(loaded, branch.sampling, gate, record=record or Record())
    session.take_up([piece.id for piece in file.prompt], file.steps, file.settings)
    _fill(session, file, progress)
    spans, asides = session.trace.spans, file.facts.asides
    check_made(((branch.edits, spans), *((aside.edits, spans_of(aside, branch.n_prompt)) for aside in asides)))
    session.trace.applied.update(made_again(session, branch.edits, branch.interventions, spans))
    stored = file.cache(loaded.config)
    if stored:
        session.cache.restore(branch.cache.firsts, branch.n_read, stored)
    elif branch.n_read:
        (_make_every_pass if asides else _make_cache)(session, file, progress)
        session.cache.remade = branch.n_read
    return session


def _make_cache(session: Session, file: RunFile, progress: Progress) -> None:
    """Keys and values follow from the stream."""
    from engine.replay import rebuild_cache

    n = file.facts.branch.n_read
    rebuild_cache(session, lambda done: progress(_making(done, n)))


def _make_every_pass(session: Session, file: RunFile, progress: Progress) -> None:
    """The same bit for bit, pass by pass, so that all branches are as they were wherever the run is taken; that takes
    longer."""
    n, layers = file.facts.branch.n_read, file.facts.model.config.layers
    firsts = [min(n, int(spec.attention.first_seen(n))) for spec in layers]
    silent, session.refilling = session.refilling, lambda done, total: progress(_making(done, total))
    kept = {layer: (first, n) for layer, first in enumerate(firsts) if first < n}  # at the end of a chunk: nothing
    made = made_again_of_passes(session, kept, n, lambda: None)
    session.refilling = silent
    session.cache.restore(firsts, n, {layer: tuple(part[0] for part in parts) for layer, parts in made.items()})


def _making(done: int, total: int) -> ProgressFrame:
    return ProgressFrame("open", "making the cache again", done, total, "tokens")


@torch.inference_mode()
def _recorded(file: RunFile, why: str, record: Record | None, progress: Progress) -> RecordedRun:
    branch, config = file.facts.branch, file.facts.model.config
    biases = {int(name.split(".")[0]): t for name, t in file.routing(config).items() if name.endswith(".choice_bias")}
    frame, model = _frame(file.facts), AbsentModel(config, biases, why)
    run = RecordedRun(
        AbsentLoaded(frame, config, file.facts.model.identity, file.dtype, model),
        why,
        file.prompt,
        branch.sampling,
        record,
    )
    run.output, run.settings = [step.piece.id for step in file.steps], list(file.settings)
    run.tokens = list(map(token_of_step, count(), file.steps, file.settings))
    run.vocabulary, run.edits = file.vocabulary, branch.tray or ()
    _fill(run, file, progress)
    run.trace.applied.update(forgotten(branch.edits, branch.interventions, run.trace.spans))
    cache = branch.cache
    run.cache = RecordedCache(config, file.dtype, cache.firsts, branch.n_read, cache.allocated, why, file.cache(config))
    return run


def _fill(session: Session | RecordedRun, file: RunFile, progress: Progress) -> None:
    """The record of a session that has none yet."""
    trace, config, device = session.trace, session.loaded.config, session.loaded.device
    n = file.facts.branch.n_read
    block = block_shapes(config, file.dtype, BLOCK).values()
    require_memory(sum(dtype.itemsize * math.prod(shape) for dtype, shape in block))
    trace.restore([(step.start, step.end) for step in file.steps], file.blocks(config, progress))
    for name, rows in file.routing(config).items():
        layer, _, part = name.partition(".")
        if part != "choice_bias" and n:
            trace.routing.layers[int(layer)].parts()[part].put(0, rows[None].to(device))


@torch.inference_mode()
def _branches(session: Session | RecordedRun, file: RunFile, progress: Progress) -> dict[int, StepFrame]:
    """The tree as it was, behind the path; the frames of what is set aside by the numbers of the tokens."""
    frames = dict[int, StepFrame]()
    if file.facts.tree is None:
        return frames
    tree = tree_of(file.facts.tree)
    number, room, whole = len(session.tokens), session.record.memory, sum(len(steps) for steps, _, _ in file.asides)
    for index, aside in enumerate(file.facts.asides):
        done = ProgressFrame("open", "reading other branches", number - len(session.tokens), whole, "tokens")
        tell = partial(progress, done)
        steps, settings, _ = file.asides[index]
        tokens = tuple(map(token_of_step, count(number), steps, settings))
        frames |= {token.number: step for token, step in zip(tokens, steps, strict=True)}
        tail = _tail(session, file, index, tokens, room, tell)
        number, room = number + len(tokens), room - tail.stream_bytes
        tree.branches[aside.branch].tails.append(tail)
    session.take_branches(tree)
    return frames


def _tail(
    session: Session | RecordedRun,
    file: RunFile,
    index: int,
    tokens: tuple[Token, ...],
    room: int,
    tell: Callable[[], None],
) -> Tail:
    """A part that is set aside, with what its passes left in the cache. Its stream takes no more than ``room`` bytes,
    where it can be made again."""
    tell()
    loaded, aside, branch = session.loaded, file.facts.asides[index], file.facts.branch
    stored, spans = file.aside(index, loaded.config), spans_of(aside, branch.n_prompt)
    live = None if isinstance(session, RecordedRun) else session
    edits = aside.edits, branch.interventions, spans
    applied = forgotten(*edits) if live is None else made_again(live, *edits)
    trace = trace_tail(aside, stored.tensors, spans, applied, loaded.device)
    if live is not None and not branch.cache.stored and aside.start[1] < aside.end[1]:
        cache = cache_of_tail(live, trace, stored.firsts, tell)
    else:
        cache = cache_tail(aside, stored, loaded.config, loaded.device)
    kept = trace.without_stream() if session.remakes and trace.stream_bytes > room else trace
    return Tail(Place(*aside.start), Place(*aside.end), tokens, cache, kept)


def _frame(facts: RunFacts) -> ModelFrame:
    model, config = facts.model, facts.model.config
    before, behind = outer_points(config)
    return ModelFrame(
        name=model.name,
        source=model.source,
        family=config.family,
        d_model=config.d_model,
        d_vocab=config.d_vocab,
        n_ctx=config.n_ctx,
        layers=tuple(layer_facts(config, index) for index in range(config.n_layers)),
        parameters=model.parameters,
        weight_bytes=model.weight_bytes,
        kv_itemsize=DTYPES[model.dtype].itemsize,
        dtype=model.dtype,
        device=model.device,
        stored_as=model.stored_as,
        has_chat_template=model.has_chat_template,
        seconds=0.0,
        warnings=model.warnings,
        sampling=model.sampling,
        points_before=before,
        points_behind=behind,
    )
