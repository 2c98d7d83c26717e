"""Whether edits fit a model, before anything is changed. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.config import ModelConfig, MoESpec
from engine.edits import Edit, EditKind
from engine.errors import EngineError
from engine.frames import PointFacts
from engine.point_table import full_name, point_facts

SCORES, PATTERN = "attn.hook_attn_scores", "attn.hook_pattern"
CHOICE = "mlp.hook_router_choice"
LOGITS = ("hook_logits", "hook_logits_final")
HEADS = ("n_heads", "n_kv_heads")  # axes
OF_POSITIONS: tuple[EditKind, ...] = ("mean", "copy")  # and "add" without a token: they read other positions

_PLACES: dict[EditKind, tuple[str, ...]] = {
    "knock out": (SCORES, PATTERN),
    "force": (CHOICE,),
    "forbid": (CHOICE,),
    "ban": LOGITS[1:],  # a cap behind the first would make a number of it
}
_ONLY_SHOWN = ("attn.hook_sink", "kv.hook_append", "mlp.hook_router_scores")
_NO_ENTRIES = ("batch", "pos", "key", *HEADS)


def check(edits: Sequence[Edit], config: ModelConfig) -> None:
    """Raises EngineError with the first edit that the model cannot be given, and why."""
    for edit in edits:
        check_alone(edit, config)
    _check_experts([edit for edit in edits if edit.on and edit.kind in ("force", "forbid")], config)


def check_alone(edit: Edit, config: ModelConfig) -> None:
    """The same of one, whatever others do."""
    for name in names(edit):
        why = _why_not(edit, name, config)
        if why:
            raise EngineError(f"The edit {title(edit)!r} does not fit this model: {why}.")


def title(edit: Edit) -> str:
    """What an edit is called in a sentence."""
    return edit.name or f"{edit.kind} {edit.point}"


def names(edit: Edit) -> tuple[str, ...]:
    """The points in ``model.hook_points`` that it is for."""
    return tuple(full_name(layer, edit.point) for layer in edit.layers) or (edit.point,)


def reads_positions(edit: Edit) -> bool:
    """Whether it takes what stands at other positions."""
    return edit.kind in OF_POSITIONS or (edit.kind == "add" and edit.token is None)


def _why_not(edit: Edit, name: str, config: ModelConfig) -> str:
    try:
        facts = point_facts(config, name)
    except EngineError:
        return f"there is no point {name} in it"
    found = (look(edit, facts, config) for look in (_point, _kind, _heads, _entries, _keys, _sources, _token))
    return next(filter(None, found), "")


def _point(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    axes = {"pos", "key", "routed"} & set(facts.shape)
    if not axes or facts.dtype in ("int64", "bool") or edit.point in _ONLY_SHOWN:
        return f"{edit.point} can only be looked at"
    if "routed" in axes and edit.positions is not None:
        return f"{edit.point} has the positions that chose this expert, so positions cannot be named there"
    return ""


def _kind(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    places = _PLACES.get(edit.kind)
    if places is not None and edit.point not in places:
        return f"{edit.kind!r} is for {' and '.join(places)}"
    if edit.kind in ("force", "forbid", "ban") and not edit.entries:
        return f"{edit.kind!r} needs to know which entries"
    if edit.kind == "ban" and len(set(edit.entries)) >= config.d_vocab:
        return "no token would be left"
    return ""


def _heads(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    count = next((size for symbol, size in zip(facts.shape, facts.sizes, strict=True) if symbol in HEADS), 0)
    if edit.heads and not count:
        return f"{edit.point} has no heads"
    return _outside("head", edit.heads, count, edit.point)


def _entries(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    if edit.entries and facts.shape[-1] in _NO_ENTRIES:
        return f"{edit.point} has no entries that could be named"
    return _outside("entry", edit.entries, facts.sizes[-1], edit.point)


def _keys(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    if edit.keys and not {"pos", "key"} <= set(facts.shape):
        return f"{edit.point} has no edges from a query to a key"
    if edit.kind == "knock out" and not edit.keys:
        return "an edge needs the positions of its keys"
    return _outside("key", edit.keys, config.n_ctx, "the context")


def _sources(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    if not reads_positions(edit):
        return ""
    wanted = {"mean": 0, "copy": 1}.get(edit.kind, 2)
    if len(edit.sources) != wanted:
        return f"{edit.kind!r} takes {wanted} positions, and {len(edit.sources)} are given"
    if "pos" not in facts.shape or "key" in facts.shape or not _recorded(edit):
        return f"what stands at other positions cannot be had of {edit.point}"
    return _outside("position", edit.sources, config.n_ctx, "the context")


def _recorded(edit: Edit) -> bool:
    return bool(edit.layers) or edit.point.startswith(("hook_embed", "hook_pos_embed"))


def _token(edit: Edit, facts: PointFacts, config: ModelConfig) -> str:
    if edit.token is None:
        return ""
    if edit.kind != "add" or facts.shape[-1] != "d_model":
        return f"a row of the unembedding can only be added to what has d_model entries, not at {edit.point}"
    return _outside("token", (edit.token,), config.d_vocab, "the vocabulary")


def _outside(what: str, numbers: Iterable[int], count: int, of: str) -> str:
    wrong = next((number for number in numbers if not 0 <= number < count), None)
    return "" if wrong is None else f"{of} has no {what} {wrong}"


# -- experts: a router must be left as many as it chooses ---------------------------------------------------------


def _check_experts(edits: list[Edit], config: ModelConfig) -> None:
    """At every place where the edits in force change; what a router may choose does not change in between."""
    starts = {0 if edit.positions is None else edit.positions[0] for edit in edits}
    for step in {edit.step for edit in edits}:
        for start in starts:
            together = [edit for edit in edits if edit.step in (None, step) and covers(edit, start)]
            for layer in {layer for edit in together for layer in edit.layers}:
                spec = config.layers[layer].mlp
                assert isinstance(spec, MoESpec), "the point of the choice is there"
                _check_choice([edit for edit in together if layer in edit.layers], spec, layer)


def covers(edit: Edit, position: int) -> bool:
    """Whether a position is among those of an edit."""
    start, end = edit.positions or (0, None)
    return start <= position and (end is None or position < end)


def _check_choice(edits: list[Edit], spec: MoESpec, layer: int) -> None:
    forced = {entry for edit in edits if edit.kind == "force" for entry in edit.entries}
    forbidden = {entry for edit in edits if edit.kind == "forbid" for entry in edit.entries}
    if forced & forbidden:
        raise EngineError(f"Expert {min(forced & forbidden)} of layer {layer} is both forced and forbidden; take one.")
    if len(forced) > spec.top_k:
        raise EngineError(
            f"{len(forced)} experts of layer {layer} are forced, and its router chooses {spec.top_k}; force fewer."
        )
    if _fewest_left(forced, forbidden, spec) < spec.top_k:
        raise EngineError(
            f"With {len(forbidden)} experts of layer {layer} forbidden its router can be left without {spec.top_k} to "
            "choose from; forbid fewer."
        )


def _fewest_left(forced: set[int], forbidden: set[int], spec: MoESpec) -> int:
    """How many experts can be chosen where the router picks the groups in which most are forbidden."""
    size = spec.n_experts // spec.n_groups
    groups = [range(first, first + size) for first in range(0, spec.n_experts, size)]
    left = sorted(len(set(group) - forbidden - forced) for group in groups)
    return len(forced) + sum(left[: spec.top_groups if spec.n_groups > 1 else 1])
