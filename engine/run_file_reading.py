"""Read a run file: everything is checked before it is believed, and no block of the stream is read before its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.amounts import bytes_text
from engine.checkpoint.memory import free_bytes
from engine.config import ModelConfig, MoESpec
from engine.errors import MemoryShortage, RunFileError
from engine.frames import Piece, ProgressFrame, StepFrame
from engine.loading import DTYPES
from engine.run_file_aside import Stored, aside_name, check_firsts
from engine.run_file_checks import check_pieces, check_steps
from engine.run_file_columns import LATER, from_columns, names
from engine.run_file_facts import (
    CACHE,
    FACTS,
    LARGEST_FACTS,
    LARGEST_THUMBNAIL,
    ROUTING,
    STEPS,
    THUMBNAIL,
    NewerVersion,
    RunFacts,
    parse_facts,
)
from engine.run_file_saving import ASIDE, ASIDE_FIRSTS, ASIDE_SETTINGS, block_name
from engine.run_file_shapes import Shape, aside_shapes, bias_shapes, block_shapes, cache_shapes, routing_shapes
from engine.run_file_tensors import packed_size, unpack, unpack_arrays
from engine.run_file_tree import check_tree
from engine.run_file_zip import Members, unsound
from engine.settings import Sampling
from engine.stream_store import BLOCK

Progress = Callable[[ProgressFrame], None]


class RunFile:
    """A run file, open for reading; a context manager. What it says of the run is read, its record is not yet.

    Raises RunFileError with one sentence for what is damaged, hostile, of a newer version or no run file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members = Members(path)
        try:
            with self._sound():
                self.facts: RunFacts = parse_facts(self._members.read(FACTS, LARGEST_FACTS))
                check_tree(self.facts)
                self._check_names()
        except BaseException:
            self._members.__exit__()
            raise

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._members.__exit__()

    @cached_property
    def dtype(self) -> torch.dtype:
        """In which the model computed."""
        if self.facts.model.dtype not in DTYPES:
            raise unsound(self.path, f"it was computed in {self.facts.model.dtype!r:.40}")
        return DTYPES[self.facts.model.dtype]

    @property
    def thumbnail(self) -> bytes:
        """A PNG picture of the run, or nothing."""
        return self._members.read(THUMBNAIL, LARGEST_THUMBNAIL) if THUMBNAIL in self._members.sizes else b""

    @cached_property
    def columns(self) -> Mapping[str, np.ndarray]:
        kinds = [(Piece, "prompt"), (Piece, "vocabulary"), (StepFrame, "steps"), (Sampling, "settings")]
        if self.facts.asides:
            kinds += [(StepFrame, ASIDE), (Sampling, ASIDE_SETTINGS), (int, ASIDE_FIRSTS)]
        known = set().union(*(names(kind, name) for kind, name in kinds))
        size = self._members.sizes.get(STEPS, 0)
        require_memory(size)
        with self._sound():
            later = {name for name in known if name.rpartition(".")[2] in LATER}
            return unpack_arrays(STEPS, self._members.read(STEPS, size), known, later)

    @cached_property
    def prompt(self) -> tuple[Piece, ...]:
        """Its tokens."""
        with self._sound():
            pieces = from_columns(Piece, self.facts.branch.n_prompt, self.columns, "prompt")
            check_pieces(pieces, self.facts.model.config)
        return tuple(pieces)

    @cached_property
    def vocabulary(self) -> dict[int, Piece]:
        """Pieces by id: of every token that was a candidate."""
        with self._sound():
            pieces = from_columns(Piece, len(self.columns["vocabulary.id"]), self.columns, "vocabulary")
            check_pieces(pieces, self.facts.model.config)
        return {piece.id: piece for piece in pieces}

    @cached_property
    def steps(self) -> tuple[StepFrame, ...]:
        """The frames of all steps."""
        with self._sound():
            steps = from_columns(StepFrame, self._n_steps, self.columns, "steps")
            check_steps(steps, self.facts, self.facts.branch.n_prompt)
            return self._with_candidates(steps)

    @cached_property
    def settings(self) -> tuple[Sampling, ...]:
        """By which each token was chosen."""
        with self._sound():
            return tuple(from_columns(Sampling, self._n_steps, self.columns, "settings"))

    @cached_property
    def asides(self) -> tuple[tuple[tuple[StepFrame, ...], tuple[Sampling, ...], tuple[int, ...]], ...]:
        """Of every part that is set aside: the frames of its steps, by which settings each token was chosen, and per
        layer the first position that the cache had of it."""
        asides, config = self.facts.asides, self.facts.model.config
        if not asides:
            return ()
        counts = [aside.end[0] - aside.start[0] for aside in asides]
        with self._sound():
            steps = iter(from_columns(StepFrame, sum(counts), self.columns, ASIDE))
            settings = iter(from_columns(Sampling, sum(counts), self.columns, ASIDE_SETTINGS))
            firsts = iter(from_columns(int, len(asides) * config.n_layers, self.columns, ASIDE_FIRSTS))
            found = []
            for aside, count in zip(asides, counts, strict=True):
                own, layers = list(islice(steps, count)), tuple(islice(firsts, config.n_layers))
                check_steps(own, self.facts, aside.start[0])
                check_firsts(aside, layers, config)
                found.append((self._with_candidates(own), tuple(islice(settings, count)), layers))
        return tuple(found)

    def _with_candidates(self, steps: list[StepFrame]) -> tuple[StepFrame, ...]:
        known = self.vocabulary
        if not all(token in known for step in steps for token in step.sampling.ids.tolist()):
            raise RunFileError("a candidate of a step has no text")
        return tuple(replace(step, candidates=tuple(known[i] for i in step.sampling.ids.tolist())) for step in steps)

    def aside(self, index: int, config: ModelConfig) -> Stored:
        """The tensors of one part that is set aside, see ``run_file_aside``; none where nothing was read in it."""
        aside, (_, _, firsts) = self.facts.asides[index], self.asides[index]
        if aside.start[1] == aside.end[1]:
            return Stored({}, firsts)
        with_cache = self.facts.branch.cache.stored  # else it is made of the streams, of which none may be missing
        shapes = aside_shapes(aside, firsts, config, self.dtype, with_cache)
        dropped = frozenset(name for name in shapes if with_cache and name.endswith(".residual"))
        found = self._tensors(aside_name(index), shapes, dropped)
        self._check_experts({name.removeprefix("routing."): rows for name, rows in found.items()}, config)
        return Stored(found, firsts)

    def blocks(self, config: ModelConfig, progress: Progress) -> Iterator[tuple[int, Tensor | None, Tensor]]:
        """First position, stream (None: it had been dropped) and norms, as ``Trace.restore`` takes them."""
        n = self.facts.branch.n_read
        for index in range(-(-n // BLOCK)):
            progress(ProgressFrame("open", f"reading {self.path.name}", index * BLOCK, n, "tokens"))
            shapes = block_shapes(config, self.dtype, min(BLOCK, n - index * BLOCK))
            parts = self._tensors(block_name(index), shapes, frozenset({"residual"}))
            yield index * BLOCK, parts.get("residual"), parts["norms"]

    def routing(self, config: ModelConfig) -> dict[str, Tensor]:
        """By layer and part, see ``run_file_saving.routing_tensors``."""
        n = self.facts.branch.n_read
        shapes = {**(routing_shapes(config, self.dtype, n) if n else {}), **bias_shapes(config, self.dtype)}
        if not shapes or ROUTING not in self._members.sizes:
            if shapes and n:
                raise unsound(self.path, f"it lacks {ROUTING}")
            return {}
        found = self._tensors(ROUTING, shapes, frozenset())
        self._check_experts(found, config)
        return found

    def _check_experts(self, routing: Mapping[str, Tensor], config: ModelConfig) -> None:
        for layer, spec in enumerate(config.layers):
            ids = routing.get(f"{layer}.hook_expert_indices")
            if ids is not None and isinstance(spec.mlp, MoESpec) and not _lie_below(spec.mlp.n_experts, ids):
                raise unsound(self.path, f"layer {layer} chose an expert that it does not have")

    def cache(self, config: ModelConfig) -> dict[int, tuple[Tensor, ...]]:
        """The parts of each layer, where they are stored: ``[heads, positions, width]``."""
        if not self.facts.branch.cache.stored:
            return {}
        shapes = cache_shapes(config, self.dtype, self.facts.branch.cache.firsts, self.facts.branch.n_read)
        found = self._tensors(CACHE, shapes, frozenset())
        names = [[f"{layer}.{part.name}" for part in spec.attention.cached] for layer, spec in enumerate(config.layers)]
        return {layer: tuple(found[name] for name in own) for layer, own in enumerate(names)}

    @property
    def _n_steps(self) -> int:
        return self.facts.branch.n_tokens - self.facts.branch.n_prompt

    def _tensors(self, name: str, shapes: Mapping[str, Shape], optional: frozenset[str]) -> dict[str, Tensor]:
        most = packed_size(shapes)
        require_memory(min(most, self._members.sizes.get(name, 0)))
        with self._sound():
            return unpack(name, self._members.read(name, most), shapes, optional)

    def _check_names(self) -> None:
        branch = self.facts.branch
        blocks = {block_name(index) for index in range(-(-branch.n_read // BLOCK))}
        read = (index for index, aside in enumerate(self.facts.asides) if aside.start[1] < aside.end[1])
        needed = {FACTS, STEPS, *blocks, *map(aside_name, read), *([CACHE] if branch.cache.stored else ())}
        there = self._members.sizes.keys()
        missing, more = sorted(needed - there), sorted(there - needed - {ROUTING, THUMBNAIL})
        if missing or more:
            raise RunFileError(f"it lacks {missing[0]!r}" if missing else f"{more[0]!r:.80} does not belong into it")

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """A piece of a sentence becomes a whole one."""
        try:
            yield
        except NewerVersion as error:
            raise RunFileError(
                f"{self.path.name} was saved by another Fluoroscope: {error}; update Fluoroscope to open it."
            ) from error
        except RunFileError as error:
            if str(error).endswith("."):
                raise
            raise unsound(self.path, str(error)) from error
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise unsound(self.path, f"its figures do not fit together ({error!s:.80})") from error


def _lie_below(count: int, ids: Tensor) -> bool:
    return int(ids.min()) >= 0 and int(ids.max()) < count


def require_memory(size: int) -> None:
    """Raise MemoryShortage unless so many bytes can be had now."""
    free = free_bytes(torch.device("cpu"))
    if size > free:
        raise MemoryShortage(f"The run needs {bytes_text(size)} at once and {bytes_text(free)} are free.")
