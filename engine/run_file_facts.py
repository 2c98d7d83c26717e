"""What ``run.json`` of a run file says: the model, the branches of the run, notes and bookmarks.

Version 2. Members of the zip, all stored: ``run.json`` (these facts), ``steps.safetensors`` (tokens and how they were
chosen, in columns), ``stream/NNNNNN.safetensors`` (``residual`` [n_layers + 1, positions, d_model], absent where it was
dropped, and ``norms`` [3 · n_layers + 1, positions] of 128 positions each), ``routing.safetensors`` (what routers
decided), ``cache.safetensors`` (of a run with edits: it cannot be computed again; and in half precision: it would not
come out the same), ``thumbnail.png``. All of these are of the path that the run stands on, from the first token to the
newest. What other branches have of their own is beside it, once: ``aside/NNNNNN.safetensors`` (see
``engine.run_file_aside``) and columns of their steps. Version 1 had the path alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from engine.checkpoint.identity import Identity
from engine.config import AttentionSpec, LatentAttentionSpec, ModelConfig, MoESpec
from engine.edit_checks import check_alone, names
from engine.edits import Edit
from engine.errors import EngineError, RunFileError
from engine.frames import ModelFrame
from engine.run_file_codec import LATER, from_json, to_json
from engine.settings import Sampling

FORMAT, VERSION = "fluoroscope run", 2
SUFFIX = ".fluoro"
FACTS, STEPS, ROUTING, CACHE, THUMBNAIL = (
    "run.json",
    "steps.safetensors",
    "routing.safetensors",
    "cache.safetensors",
    "thumbnail.png",
)
LARGEST_FACTS, LARGEST_THUMBNAIL = 2**24, 2**22  # bytes
MOST_LAYERS, LARGEST_SIZE = 4096, 2**26
MOST_EDITS, MOST_PLACES = 1000, 20_000  # different ones, and the layers of all of them together
MOST_MADE = 500_000  # listeners of all passes
MOST_MARKS, LONGEST_MARK = 10_000, 20_000  # notes and bookmarks, and the letters of one
MOST_BRANCHES = 1000
MOST_ASIDES = 2 * MOST_BRANCHES  # the parts of other branches
NO_PLACE = "a note in it is about a place that the run does not have"
TOO_MANY_BRANCHES = f"it has more than {MOST_BRANCHES:,} branches"


@dataclass(frozen=True)
class Mark:
    """A note or a bookmark: a text, and the place that it is about; None: all of that axis.

    ``once``: in words, a place that the run does not have; "" where it has the place. ``branch``: the number of the
    branch that has it, where the path that the run stands on does not.
    """

    text: str
    position: int | None = None
    layer: int | None = None
    head: int | None = None
    once: str = field(default="", metadata=LATER)
    branch: int | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class ModelFacts:
    """Which model the run was made with; the fields are those of ModelFrame, and what its layers are made from."""

    identity: Identity
    config: ModelConfig
    name: str
    source: str
    parameters: int
    weight_bytes: int
    dtype: str
    device: str
    stored_as: str
    has_chat_template: bool
    warnings: tuple[str, ...]
    sampling: Sampling | None


@dataclass(frozen=True)
class Point:
    """A hook point: a listener ``replaced`` its tensor, or only made it be formed. ``made_by``: the numbers of the
    edits that did it, in their order; None where a hook did, or what is not kept."""

    name: str
    replaced: bool
    made_by: tuple[int, ...] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class Edited:
    """The hook points that listeners had a hand in, in the passes that began at a position, or further on before the
    position ``until``."""

    start: int
    points: tuple[Point, ...]
    until: int = field(default=0, metadata=LATER)


@dataclass(frozen=True)
class CacheFacts:
    """Layer l had positions [firsts[l], n_read) in its cache, whose buffers took ``allocated`` bytes."""

    firsts: tuple[int, ...]
    allocated: int
    stored: bool


@dataclass(frozen=True)
class Branch:
    """One line of tokens. The root has no ``parent`` and begins at 0; a branch parts from its parent at ``start``.

    ``n_read`` positions were read by finished passes. ``reason``: how it ended (see EndFrame). ``sampling``: the
    settings that were in force last; those of each step are in its stages. ``interventions``: the edits that points
    were ``made_by``. ``tray``: the edits that were in force for the passes to come, those that were switched off among
    them; None in a file that does not say.
    """

    parent: int | None
    start: int
    n_prompt: int
    n_tokens: int
    n_read: int
    max_new_tokens: int
    chat: bool
    reason: str
    sampling: Sampling
    edits: tuple[Edited, ...]
    cache: CacheFacts
    interventions: tuple[Edit, ...] = field(default=(), metadata=LATER)
    tray: tuple[Edit, ...] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class Node:
    """A branch of the tree: with so many tokens, and so many positions read, it parts from ``parent``; the first one,
    number 0, has none."""

    number: int
    parent: int | None
    start: tuple[int, int]


@dataclass(frozen=True)
class Aside:
    """A part of a branch that the path does not go through: from so many tokens and positions read to so many.
    ``edits`` are those of passes that began in it, by the numbers of the path's ``interventions``."""

    branch: int
    start: tuple[int, int]
    end: tuple[int, int]
    edits: tuple[Edited, ...]


@dataclass(frozen=True)
class Compared:
    """The branches that are compared, None: not chosen; ``side`` is what is shown of them."""

    a: int | None
    b: int | None
    side: Literal["A", "B", "A − B"]


@dataclass(frozen=True)
class TreeFacts:
    """The branches in the order of their making; the path is that of the ``current`` one, and the next one gets the
    number ``following``. The asides of a branch lie end to end, behind what the path has of it."""

    current: int
    following: int
    branches: tuple[Node, ...]
    asides: tuple[Aside, ...]
    compared: Compared | None


@dataclass(frozen=True)
class RunFacts:
    """All of ``run.json``; ``saved`` is the time in UTC, as ISO 8601 writes it. ``branches`` has one entry, the path;
    without a ``tree`` there is no other."""

    format: str
    version: int
    saved: str
    model: ModelFacts
    branches: tuple[Branch, ...]
    notes: tuple[Mark, ...] = ()
    bookmarks: tuple[Mark, ...] = ()
    tree: TreeFacts | None = field(default=None, metadata=LATER)

    @property
    def branch(self) -> Branch:
        """The path that the run stands on."""
        return self.branches[0]

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Notes and bookmarks."""
        return (*self.notes, *self.bookmarks)

    @property
    def asides(self) -> tuple[Aside, ...]:
        """What other branches have of their own."""
        return () if self.tree is None else self.tree.asides


@dataclass(frozen=True)
class Beside:
    """What a file holds besides the session's own: how the run was begun and ended, what somebody noted, a PNG, and
    which branches were compared."""

    max_new_tokens: int = 0
    chat: bool = False
    reason: str = ""
    notes: tuple[Mark, ...] = ()
    bookmarks: tuple[Mark, ...] = ()
    thumbnail: bytes = b""
    compared: Compared | None = None


def facts_bytes(facts: RunFacts) -> bytes:
    """As they stand in the file."""
    return json.dumps(to_json(facts), indent=1, ensure_ascii=False, allow_nan=False).encode()


def parse_facts(text: bytes) -> RunFacts:
    """Raises RunFileError with what does not fit, a piece of a sentence; a whole one for a newer version."""
    try:
        table = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{FACTS} is not valid JSON ({error!s:.80})") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT or not _is_version(table.get("version")):
        raise RunFileError(f"{FACTS} does not say that it is a run")
    if table["version"] > VERSION:
        raise NewerVersion(table["version"])
    _check_counts(table)
    try:
        facts = from_json(RunFacts, table, FACTS)
    except RecursionError as error:
        raise RunFileError(f"{FACTS} is nested too deeply") from error
    _check(facts)
    return facts


class NewerVersion(RunFileError):  # noqa: N818
    """The file has a version that this program does not know."""

    def __init__(self, version: int) -> None:
        super().__init__(f"its version is {version}, and this Fluoroscope reads version {VERSION}")


def _is_version(value: Any) -> bool:
    return type(value) is int and value > 0


def _check_counts(table: dict[str, Any]) -> None:
    """Before each of them is looked at, which would take too long."""
    tree = table.get("tree")
    lists = [tree.get(name) for name in ("branches", "asides")] if isinstance(tree, dict) else []
    if any(isinstance(found, list) and len(found) > MOST_ASIDES for found in lists):
        raise RunFileError(TOO_MANY_BRANCHES)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _check(facts: RunFacts) -> None:
    """What is to be computed with must make sense, whoever wrote it."""
    config, complaint = facts.model.config, "its model is none that can exist"
    if not 0 < config.n_layers <= MOST_LAYERS or not _sensible(facts.model):
        raise RunFileError(complaint)
    for spec in config.layers:
        attention, mlp = spec.attention, spec.mlp
        sizes = [config.d_model, config.d_vocab, config.n_ctx, attention.n_heads, attention.n_kv_heads]
        sizes += [attention.d_head, *(part.heads * part.width for part in attention.cached)]
        if isinstance(mlp, MoESpec):
            sizes += [mlp.n_experts, mlp.top_k, mlp.expert.d_mlp, mlp.n_groups, mlp.top_groups]
            if mlp.top_k > mlp.n_experts or mlp.n_experts % max(1, mlp.n_groups) or mlp.top_groups > mlp.n_groups:
                raise RunFileError(complaint)
        else:
            sizes.append(mlp.d_mlp)
        if min(sizes) < 1 or max(sizes) > LARGEST_SIZE or attention.n_heads % attention.n_kv_heads:
            raise RunFileError(complaint)
        if attention.rope is not None and attention.rope not in config.ropes:
            raise RunFileError(complaint)
    if len(facts.branches) != 1:
        raise RunFileError(f"it has {len(facts.branches)} paths, and a run stands on one")
    _check_branch(facts.branch, config)
    _check_marks(facts.marks, facts.branch.n_tokens, config)


def _sensible(value: Any) -> bool:
    """Whether no whole number in it is negative or beyond 64 bits."""
    if is_dataclass(value):
        return all(_sensible(getattr(value, field.name)) for field in fields(value) if not isinstance(value, Sampling))
    if isinstance(value, tuple):
        return all(map(_sensible, value))
    if isinstance(value, dict):
        return all(map(_sensible, value.values()))
    return type(value) is not int or 0 <= value < 2**63


def _check_branch(branch: Branch, config: ModelConfig) -> None:
    counts = branch.parent is None and branch.start == 0 and 0 < branch.n_prompt <= branch.n_tokens <= config.n_ctx + 1
    read = branch.n_tokens - 1 if branch.n_tokens > branch.n_prompt else 0
    if not counts or branch.n_read != read or not 0 <= branch.max_new_tokens < 2**31:
        raise RunFileError("its counts of tokens do not fit together")
    cache, starts = branch.cache, [edited.start for edited in branch.edits]
    most = [read if forgets(spec.attention, config) else 0 for spec in config.layers]
    known = len(cache.firsts) == len(most) and all(0 <= first <= n for first, n in zip(cache.firsts, most, strict=True))
    if not known or not 0 <= cache.allocated < 2**63 or not all(0 <= start < max(1, read) for start in starts):
        raise RunFileError("what it says of the cache does not fit together")
    _check_edits(branch, config)


def forgets(attention: AttentionSpec | LatentAttentionSpec, config: ModelConfig) -> bool:
    """Whether a layer's cache lets go of positions."""
    return int(attention.first_seen(config.n_ctx)) > 0


def _check_edits(branch: Branch, config: ModelConfig) -> None:
    for some in (branch.interventions, branch.tray or ()):
        _check_some_edits(some, config)
    check_passes(branch.edits, [frozenset(names(edit)) for edit in branch.interventions])


def check_passes(passes: tuple[Edited, ...], known: list[frozenset[str]]) -> None:
    """``known``: the names of the points of each edit. Raises RunFileError, a piece of a sentence."""
    if any(one.start >= other.start or one.until > other.start for one, other in pairwise(passes)):
        raise RunFileError("its edited passes are not in their order")
    if not all(_made_by_these(point, known) for edited in passes for point in edited.points):
        raise RunFileError("its edits are not at their points")


def _check_some_edits(edits: tuple[Edit, ...], config: ModelConfig) -> None:
    if kept_tray(edits) is None:
        raise RunFileError("its edits are too many")
    for edit in edits:
        try:
            check_alone(edit, config)
        except EngineError as error:
            raise RunFileError(f"its edits do not fit its model ({error})") from error


def kept_tray(edits: tuple[Edit, ...]) -> tuple[Edit, ...] | None:
    """The same edits, which fit their model; None where a file does not hold so many."""
    once = all(len(set(edit.layers)) == len(edit.layers) for edit in edits)
    return edits if once and not too_many(edits) else None


def too_many(edits: Iterable[Edit]) -> bool:
    """Whether a file keeps no more than some of these: to take in more would take too long."""
    layers = [len(edit.layers) for edit in edits]
    return len(layers) > MOST_EDITS or sum(layers) > MOST_PLACES


def _made_by_these(point: Point, known: list[frozenset[str]]) -> bool:
    return all(0 <= number < len(known) and point.name in known[number] for number in point.made_by or ())


def _check_marks(marks: tuple[Mark, ...], n_tokens: int, config: ModelConfig) -> None:
    """Those on tokens of the path; for others see ``engine.run_file_tree``."""
    if len(marks) > MOST_MARKS or any(len(mark.text) + len(mark.once) > LONGEST_MARK for mark in marks):
        raise RunFileError("its notes are too many or too long")
    if not all(_fits(mark, n_tokens if mark.branch is None else config.n_ctx + 1, config) for mark in marks):
        raise RunFileError(NO_PLACE)


def _fits(mark: Mark, n_tokens: int, config: ModelConfig) -> bool:
    most_heads = max(spec.attention.n_heads for spec in config.layers)
    places = ((mark.position, n_tokens), (mark.layer, config.n_layers), (mark.head, most_heads))
    return all(place is None or 0 <= place < count for place, count in places)


def fitting_marks(marks: Iterable[Mark], n_tokens: Mapping[int | None, int], config: ModelConfig) -> tuple[Mark, ...]:
    """The same marks for a run of so many tokens, on the path (None) and by branch: a place that it does not have is
    kept in words. The run may have been taken back since they were made."""
    fits = (_fits(mark, n_tokens.get(mark.branch, 0), config) for mark in marks)
    return tuple(mark if here else _placeless(mark) for mark, here in zip(marks, fits, strict=True))[:MOST_MARKS]


def _placeless(mark: Mark) -> Mark:
    axes = (("token", mark.position), ("layer", mark.layer), ("head", mark.head))
    words = ", ".join(f"{name} {place}" for name, place in axes if place is not None)
    return Mark(mark.text, once=mark.once or words)


def with_suffix(path: Path) -> Path:
    """A name by which a run is recognised when it is to be opened."""
    return path if path.suffix.lower() == SUFFIX else path.with_name(path.name + SUFFIX)


def model_facts(frame: ModelFrame, config: ModelConfig, identity: Identity) -> ModelFacts:
    """What is kept of a model that has been loaded."""
    own = {field.name for field in fields(ModelFacts)} & {field.name for field in fields(ModelFrame)}
    return ModelFacts(identity=identity, config=config, **{name: getattr(frame, name) for name in own})
