"""Answers about attention: maps of all heads or of one, one query's row, one figure; any stage between q · k and value.

A map is computed in slices and reduced as it is made: no array of query x key is ever held. A long one comes coarse
first: single queries stand for those before them until all are in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from engine import questions as ask
from engine.attention_maps import AttentionMaps
from engine.attention_stages import StageRows
from engine.errors import EngineError
from engine.frames import Answer, AttentionGrid, AttentionMap, AttentionRow
from engine.gate import Answering
from engine.recompute import patterns_known
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

_FIGURES_PER_SLICE = 2**18  # query-key pairs of all heads: some milliseconds of one thread
_COARSE_FROM = 2**22  # pairs: what takes a tenth of a second and more comes coarse first
_SAMPLES = 256  # queries of one head that make it coarse
_LEAST_SAMPLES = 64

Shown = Callable[[Tensor, int, int], Answer]  # figures [heads, rows, columns], queries up to here, each so-many-th


def attention_grid(session: Session, question: ask.AskAttentionGrid) -> Answering:
    """The pattern of every head."""
    maps, rows = session.maps(question), stage_rows(session, question.layer, "pattern", None)

    def shown(figures: Tensor, n: int, every: int) -> AttentionGrid:
        host = to_host({"maps": figures})["maps"]
        return AttentionGrid(question.layer, n, session.n_read, maps.block, host, _source(maps), every)

    yield from _filled(session, question.layer, maps, rows, shown)
    return shown(maps.maps(), maps.n, 1)


def attention_map(session: Session, question: ask.AskAttentionMap) -> Answering:
    """A stage of one head, of everything or of a region."""
    _check_region(session, question)
    maps, rows = session.maps(question), stage_rows(session, question.layer, question.stage, question.head)

    def shown(figures: Tensor, n: int, every: int) -> AttentionMap:
        host = to_host({"map": figures[0]})["map"]
        return AttentionMap(
            question.layer,
            question.head,
            n,
            session.n_read,
            maps.block,
            host,
            _source(maps),
            question.stage,
            question.rows or (0, session.n_read),
            question.columns or (0, session.n_read),
            _sight(rows, maps, n),
            every,
        )

    yield from _filled(session, question.layer, maps, rows, shown)
    return shown(maps.maps(), maps.n, 1)


def attention_row(session: Session, question: ask.AskAttentionRow) -> Answering:
    """A stage of every head, of one query."""
    layer, stage = question.layer, question.stage
    reader = stage_rows(session, layer, stage, None)
    position = session.newest if question.position is None else question.position
    if position >= patterns_known(session.loaded.model, session.trace, session.cache, layer):
        heads = session.loaded.config.layers[layer].attention.n_heads
        return AttentionRow(layer, position, np.zeros((heads, 0), np.float32), "", stage, (0, 0))
    figures = session.captured_row(layer, position) if stage == "pattern" else None
    source = "recomputed" if figures is None else "captured"
    if figures is None:
        yield from reader.prepare(position, position + 1)
        figures = reader.rows(position, position + 1)[:, 0]
    first, last = reader.sight(position, position + 1)[0].tolist()
    return AttentionRow(layer, position, to_host({"rows": figures.float()})["rows"], source, stage, (first, last))


def exact_stage(stage: ask.AttentionStage) -> Callable[..., Tensor | None]:
    """What reads one figure of a stage: (session, layer, head, query, key) to it, None where there is none."""

    def read(session: Session, layer: int, head: int, query: int, key: int) -> Tensor | None:
        if head >= session.loaded.config.layers[layer].attention.n_heads:
            raise IndexError(head)
        reader = stage_rows(session, layer, stage, head)
        if query >= patterns_known(session.loaded.model, session.trace, session.cache, layer):
            return None
        first, last = reader.sight(query, query + 1)[0].tolist()
        if key >= last or (key < first and stage in ask.SIGNED_STAGES):  # a weight that is masked is 0
            return None
        for _ in reader.prepare(query, query + 1):
            pass
        return reader.rows(query, query + 1)[0, 0, key]

    return read


def stage_rows(session: Session, layer: int, stage: ask.AttentionStage, head: int | None) -> StageRows:
    """What computes rows of a stage of this run."""
    return StageRows(session.loaded.model, session.trace, session.cache, layer, stage, head)


def _check_region(session: Session, question: ask.AskAttentionMap) -> None:
    for name, region in (("queries", question.rows), ("keys", question.columns)):
        if region is not None and not 0 <= region[0] < region[1] <= session.loaded.config.n_ctx:
            raise EngineError(
                f"The {name} {region[0]} to {region[1] - 1} are no part of a context of "
                f"{session.loaded.config.n_ctx} positions; choose a first and a later last one in it."
            )


# -- a map, slice by slice ----------------------------------------------------------------------------------------


def _filled(
    session: Session, layer: int, maps: AttentionMaps, rows: StageRows, shown: Shown
) -> Generator[Answer | None, None, None]:
    """Bring every row in that is known; yields what there is so far where that takes long."""
    if (end := _known(session, layer, maps)) > maps.n:
        if maps.stop is None:  # a region has its room from the start
            maps.make_room(end)
        for _ in rows.prepare(maps.n, end):
            yield None
        if _pairs(rows, maps.n, end) * rows.n_heads > _COARSE_FROM:
            yield from _coarse(session, maps, rows, end, shown)
    while (start := maps.n) < (known := _known(session, layer, maps)):
        end = rows.alike_until(start, min(known, start + _slice(rows, start)))
        for _ in rows.prepare(start, end):
            yield None
        if maps.n == start:  # no pass has brought rows in meanwhile
            maps.add(rows.rows(start, end))
        yield None


def _coarse(
    session: Session, maps: AttentionMaps, rows: StageRows, end: int, shown: Shown
) -> Generator[Answer | None, None, None]:
    start, block, every = maps.n, maps.block, maps.block
    while (end - start) / every > max(_LEAST_SAMPLES, _SAMPLES // rows.n_heads):
        every *= 2
    samples = []
    for first in range(start, end, every):
        last = min(first + every, end) - 1
        samples.append(maps.sample(rows.rows(last, last + 1)))
        yield None
        if (maps.n, maps.block) != (start, block):  # a pass has brought rows in: these are worth more
            return
    if every > 1:
        yield shown(maps.with_samples(samples, every, end), end, every)


def _known(session: Session, layer: int, maps: AttentionMaps) -> int:
    """One past the last query of the map that can be computed."""
    known = patterns_known(session.loaded.model, session.trace, session.cache, layer)
    return known if maps.stop is None else min(known, maps.stop)


def _pairs(rows: StageRows, start: int, end: int) -> int:
    """About how many query-key pairs lie in the queries [start, end)."""
    (first, last), (least, most) = rows.sight(start, start + 1)[0].tolist(), rows.sight(end - 1, end)[0].tolist()
    return (end - start) * (last - first + most - least) // 2


def _slice(rows: StageRows, start: int) -> int:
    """How many queries from here on make a slice of work."""
    first, last = rows.sight(start, start + 1)[0].tolist()
    pairs = max(1, _FIGURES_PER_SLICE // rows.n_heads)
    return max(1, min(pairs // (last - first), math.isqrt(pairs)))  # later queries see more keys


def _sight(rows: StageRows, maps: AttentionMaps, n: int) -> np.ndarray:
    """By row of cells: the first key that a query of it has a figure with, and one past the last; int64."""
    sight = rows.sight(maps.first, n).numpy()
    cuts = np.arange(0, len(sight), maps.block)
    if not len(sight):
        return sight
    return np.stack((np.minimum.reduceat(sight[:, 0], cuts), np.maximum.reduceat(sight[:, 1], cuts)), axis=1)


def _source(maps: AttentionMaps) -> str:
    if maps.captured and maps.captured == maps.n - maps.first:
        return "captured"
    return "captured + recomputed" if maps.captured else "recomputed"
