"""Write a run file: a generator in slices, so that a run may go on while it is saved as it stands now."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine.errors import EngineError
from engine.frames import Piece, Saved, StepFrame
from engine.model.moe import MoE
from engine.run_file_aside import aside_name, aside_tensors
from engine.run_file_columns import Columns, to_columns
from engine.run_file_edits import EditFacts
from engine.run_file_facts import (
    CACHE,
    FACTS,
    FORMAT,
    MOST_ASIDES,
    MOST_BRANCHES,
    ROUTING,
    STEPS,
    THUMBNAIL,
    VERSION,
    Aside,
    Beside,
    Branch,
    CacheFacts,
    Edited,
    Node,
    RunFacts,
    TreeFacts,
    facts_bytes,
    fitting_marks,
    kept_tray,
    model_facts,
)
from engine.run_file_tensors import PIECE, pack_arrays, pieces, size_of
from engine.run_file_tree import tokens_by_branch
from engine.run_file_zip import replacing, settle
from engine.settings import Sampling
from engine.stream_store import BLOCK

if TYPE_CHECKING:
    from engine.branches import Tail
    from engine.gate import Answering
    from engine.questions import AskSaved
    from engine.recorded_run import RecordedRun
    from engine.session import Session

_STEPS_PER_SLICE = 32
_NONE: Mapping[int, StepFrame] = {}
ASIDE, ASIDE_SETTINGS, ASIDE_FIRSTS = "aside", "aside_settings", "aside_firsts"  # columns of what is set aside


def save_run(
    path: Path,
    session: Session | RecordedRun,
    steps: Sequence[StepFrame],
    beside: Beside | None = None,
    *,
    others: Mapping[int, StepFrame] = _NONE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Save the run of a session up to its last finished step, with all its branches; the bytes of the file.

    ``steps``: the frames of all steps of the path that it stands on; ``others``: by the numbers of their tokens
    (``session.tokens``) those of its other branches, where it has some. ``progress`` is told bytes done and in all;
    what it raises (Cancelled) ends the saving. Raises DiskError, and EngineError for a session that records nothing, or
    where a frame is missing; the file that was there stays.
    """
    with closing(saving(session, path, steps, beside or Beside(), others)) as work:
        while True:
            try:
                progress(*next(work))
            except StopIteration as done:
                return done.value


def answer(session: Session | RecordedRun, question: AskSaved) -> Answering:
    """The same as an answer: partial ones tell how far it is."""
    began, path = time.perf_counter(), Path(question.path)
    with closing(saving(session, path, question.steps, question.beside, question.others)) as work:
        while True:
            try:
                done, total = next(work)
            except StopIteration as finished:
                return Saved(question.path, finished.value, finished.value, time.perf_counter() - began)
            yield Saved(question.path, done, total, time.perf_counter() - began)


def saving(
    session: Session | RecordedRun,
    path: Path,
    steps: Sequence[StepFrame],
    beside: Beside,
    others: Mapping[int, StepFrame] = _NONE,
) -> Generator[tuple[int, int], None, int]:
    """Yields (bytes done, bytes in all, estimated) between slices of a few milliseconds; returns the bytes written."""
    steps = tuple(steps)
    run = _Snapshot(session, steps, beside, others)  # now: what comes later belongs to later steps
    done, total = 0, run.total()
    with replacing(path, total) as members:
        for name, size, data in run.members():
            with closing(_written(members, name, size, data)) as written:  # before the zip is, whatever happens
                for count in written:
                    done += count
                    yield min(done, total), total
            settle(members)
            yield min(done, total), total
    return path.stat().st_size


class _Snapshot:
    """What is to be saved, as it stands: the stream of finished positions never changes, and neither does what is set
    aside; the rest is copied."""

    def __init__(
        self,
        session: Session | RecordedRun,
        steps: tuple[StepFrame, ...],
        beside: Beside,
        others: Mapping[int, StepFrame],
    ) -> None:
        self._session, self._steps, self._beside = session, steps, beside
        self._n_read = steps[-1].end if steps else 0
        if len(steps) != len(session.output) or self._n_read != (session.trace.spans or [(0, 0)])[-1][1]:
            raise EngineError("This run was not recorded from its first token on, so it cannot be saved.")
        self._blocks = session.trace.blocks()
        self._routing = routing_tensors(session, self._n_read)
        self._tails = [
            (branch.number, tail) for branch in session.branching_tree.branches.values() for tail in branch.tails
        ]
        self._aside, self._aside_settings = _steps_of([tail for _, tail in self._tails], others)
        self._edit_facts = EditFacts()
        self._edits = self._edit_facts.of(session.trace.spans, session.trace.applied, self._n_read)
        self._asides = tuple(Aside(number, *_place_and_edits(tail, self._edit_facts)) for number, tail in self._tails)
        edited = (*self._edits, *(one for aside in self._asides for one in aside.edits))
        replaced = any(point.replaced for one in edited for point in one.points)
        narrow = session.loaded.dtype != torch.float32  # where making it again rounds too roughly for the same tokens
        self._stored = replaced or narrow or any(_dropped(tail) for _, tail in self._tails)
        self._cache = cache_tensors(session, self._n_read) if self._stored else {}
        self._facts = self._gathered()
        self._prompt, self._settings = session.prompt_pieces(), tuple(session.settings)

    def total(self) -> int:
        """About how many bytes it will be: each candidate of a step takes some 60."""
        use = self._session.trace.use()
        extra = sum(t.numel() * t.element_size() for t in (*self._routing.values(), *self._cache.values()))
        steps = 600 + 60 * 65
        aside = sum(tail.bytes for _, tail in self._tails)
        n_steps = len(self._steps) + len(self._aside)
        return 2**20 + self._n_read * use.bytes_per_token + n_steps * steps + extra + aside

    def members(self) -> Iterator[tuple[str, int, Iterable[bytes]]]:
        """Names, sizes and contents in pieces; no name: only a turn for others."""
        yield _whole(FACTS, facts_bytes(self._facts))
        if self._beside.thumbnail:
            yield _whole(THUMBNAIL, self._beside.thumbnail)
        columns: list[Columns] = []
        for name, steps in (("steps", self._steps), *([(ASIDE, self._aside)] if self._tails else ())):
            parts: list[Columns] = []
            for first in range(0, max(1, len(steps)), _STEPS_PER_SLICE):
                parts.append(to_columns(StepFrame, _bare(steps[first : first + _STEPS_PER_SLICE]), name))
                yield _whole("", b"")
            columns.append(_joined(parts))
        columns.append(_pieces(self._prompt, (*self._steps, *self._aside)))
        columns.append(to_columns(Sampling, self._settings, "settings"))
        if self._tails:
            columns.append(to_columns(Sampling, self._aside_settings, ASIDE_SETTINGS))
            firsts = [first for _, tail in self._tails for first, _ in tail.cache.layers]
            columns.append(to_columns(int, firsts, ASIDE_FIRSTS))
        yield _whole(STEPS, pack_arrays({name: own for part in columns for name, own in part.items()}))
        for name, tensors in ((ROUTING, self._routing), (CACHE, self._cache)):
            if tensors:
                yield name, size_of(tensors), pieces(tensors)
        for start, stream, norms in self._blocks:
            count = min(BLOCK, self._n_read - start)  # by now there may be more of it
            if count <= 0:
                break
            block = {} if stream is None else {"residual": stream[:, :count]}
            block["norms"] = norms[:, :count]
            yield block_name(start // BLOCK), size_of(block), pieces(block)
        for index, (_, tail) in enumerate(self._tails):
            own = aside_tensors(tail, self._session.loaded.config, self._stored)
            if own:
                yield aside_name(index), size_of(own), pieces(own)

    def _gathered(self) -> RunFacts:
        session, beside = self._session, self._beside
        identity = session.loaded.identity
        if identity is None:
            raise EngineError("This model was not loaded from files, so its run cannot be saved.")
        branch = Branch(
            parent=None,
            start=0,
            n_prompt=len(session.prompt),
            n_tokens=len(session.prompt) + len(session.output),
            n_read=self._n_read,
            max_new_tokens=beside.max_new_tokens,
            chat=beside.chat,
            reason=beside.reason,
            sampling=session.sampling,
            edits=self._edits,
            cache=CacheFacts(tuple(session.cache.firsts_at(self._n_read)), session.cache.bytes_allocated, self._stored),
            interventions=self._edit_facts.interventions,
            tray=kept_tray(session.edits),
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        model = model_facts(session.loaded.model_frame(), session.loaded.config, identity)
        config = session.loaded.config
        facts = RunFacts(FORMAT, VERSION, now, model, (branch,), tree=self._tree())
        ends = tokens_by_branch(facts)
        notes, bookmarks = (fitting_marks(marks, ends, config) for marks in (beside.notes, beside.bookmarks))
        return replace(facts, notes=notes, bookmarks=bookmarks)

    def _tree(self) -> TreeFacts:
        tree = self._session.branching_tree
        nodes = tuple(Node(branch.number, branch.parent, (*branch.start,)) for branch in tree.branches.values())
        if len(nodes) > MOST_BRANCHES:
            raise EngineError(
                f"This run has {len(nodes):,} branches and a file holds {MOST_BRANCHES:,}; drop some of them first."
            )
        if len(self._asides) > MOST_ASIDES:
            raise EngineError(
                f"The branches of this run lie in {len(self._asides):,} parts and a file holds {MOST_ASIDES:,}; drop "
                "some of them first."
            )
        numbers, compared = {node.number for node in nodes}, self._beside.compared
        if compared is not None and not {compared.a, compared.b} <= {*numbers, None}:  # dropped since it was chosen
            compared = None
        return TreeFacts(tree.current, tree.following, nodes, self._asides, compared)


def block_name(index: int) -> str:
    """The member that holds a block of positions."""
    return f"stream/{index:06d}.safetensors"


@torch.inference_mode()
def routing_tensors(session: Session | RecordedRun, n: int) -> dict[str, Tensor]:
    """By layer and part: what the routers decided at the first ``n`` positions, and what they add to choose by."""
    found = {}
    for layer, routing in session.trace.routing.layers.items():
        for name, rows in routing.parts().items():
            if n and rows.reach:
                found[f"{layer}.{name}"] = rows[:n].clone()
        moe = session.loaded.model.layers[layer].mlp
        assert isinstance(moe, MoE), "only mixtures of experts are recorded"
        bias = moe.router.choice_bias
        if bias is not None:
            found[f"{layer}.choice_bias"] = bias.detach()
    return found


@torch.inference_mode()
def cache_tensors(session: Session | RecordedRun, n: int) -> dict[str, Tensor]:
    """By layer and part: what the cache held when the first ``n`` positions were read; a pass may stand behind them."""
    found = {}
    for layer, spec in enumerate(session.loaded.config.layers):
        for part, stored in zip(spec.attention.cached, session.cache.parts_at(layer, n), strict=True):
            found[f"{layer}.{part.name}"] = stored[0].clone()
    return found


def _steps_of(tails: Iterable[Tail], others: Mapping[int, StepFrame]) -> tuple[list[StepFrame], list[Sampling]]:
    """The frames that chose the tokens which are set aside, and by which settings. Raises EngineError where one is
    missing."""
    tokens = [token for tail in tails for token in tail.tokens]
    if not all(token.number in others for token in tokens):
        raise EngineError(
            "This run has other branches, and the frames of their steps were not given, so it cannot be saved; give "
            "them as others, or drop those branches."
        )
    return [others[token.number] for token in tokens], [token.settings for token in tokens]


def _place_and_edits(tail: Tail, edits: EditFacts) -> tuple[tuple[int, int], tuple[int, int], tuple[Edited, ...]]:
    """Where a part begins and ends, and how its passes were edited."""
    assert tail.trace is not None, "only a session that records is saved"
    own = edits.of(tail.trace.spans, tail.trace.applied, tail.end.reads)
    return (*tail.start,), (*tail.end,), own


def _dropped(tail: Tail) -> bool:
    """Whether the cache of a part cannot be made of its stream."""
    return tail.trace is not None and any(stream is None for _, stream, _ in tail.trace.blocks)


def _bare(steps: Iterable[StepFrame]) -> list[StepFrame]:
    """Without the candidates' pieces, of which each is kept once."""
    return [replace(step, candidates=()) for step in steps]


def _pieces(prompt: tuple[Piece, ...], steps: Iterable[StepFrame]) -> Columns:
    known = {piece.id: piece for step in steps for piece in step.candidates}
    return {**to_columns(Piece, prompt, "prompt"), **to_columns(Piece, list(known.values()), "vocabulary")}


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _whole(name: str, data: bytes) -> tuple[str, int, Iterable[bytes]]:
    return name, len(data), (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def _written(members: zipfile.ZipFile, name: str, size: int, data: Iterable[bytes]) -> Generator[int, None, None]:
    """Write a member piece by piece, and yield the bytes of each."""
    if not name:
        yield 0
        return
    info = zipfile.ZipInfo(name)
    info.file_size = size  # known before, so that a large one is announced as such
    with members.open(info, "w") as member:
        for piece in data:
            yield member.write(piece)
