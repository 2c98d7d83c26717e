"""What can be edited and how, as data; edits in words, and words read as numbers.

Imports no Qt: ``tr`` is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from app.widgets.scale import figure
from engine.edits import Edit, EditKind
from engine.errors import EngineError
from engine.frames import LayerFacts, ModelFrame, PointFacts

Tr = Callable[[str], str]

LOGITS = "hook_logits_final"
Z = "attn.hook_z"
SCORES, PATTERN = "attn.hook_attn_scores", "attn.hook_pattern"
NEURONS = "mlp.hook_post"
CHOICE = "mlp.hook_router_choice"
STREAM = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
_TENSOR: tuple[EditKind, ...] = ("zero", "scale", "mean", "copy", "add", "clamp", "set")
_ELSEWHERE: tuple[EditKind, ...] = ("mean", "copy")  # and "add" without a token: they take what stands elsewhere
_INSTEAD = {"router": CHOICE}  # a stage that is edited before its end
_ONLY_SHOWN = ("attn.hook_sink", "mlp.hook_router_scores", "sampler.")
_MOST_NUMBERS = 4096  # in one list; a range of a mistyped number must not fill the memory


@dataclass(frozen=True)
class Target:
    """Something that can be edited: at one of ``points`` (() any that has figures), by one of ``kinds``.

    ``entries``: what the numbers along the last axis are, "" where all are taken.
    """

    key: str
    points: tuple[str, ...]
    kinds: tuple[EditKind, ...]
    entries: str = ""
    heads: bool = False
    keys: bool = False


TARGETS = (
    Target("heads", (Z,), _TENSOR, heads=True),
    Target("stream", STREAM, _TENSOR, "dimensions"),
    Target("neurons", (NEURONS,), tuple(kind for kind in _TENSOR if kind != "add"), "neurons"),
    Target("edge", (SCORES, PATTERN), ("knock out",), heads=True, keys=True),
    Target("experts", (CHOICE,), ("forbid", "force"), "experts"),
    Target("tokens", (LOGITS,), ("ban", "bias"), "tokens"),
    Target("point", (), _TENSOR, "entries", heads=True),
)


def target_titles(tr: Tr) -> dict[str, str]:
    return {
        "heads": tr("attention heads (z)"),
        "stream": tr("residual stream"),
        "neurons": tr("neurons"),
        "edge": tr("attention edge"),
        "experts": tr("experts"),
        "tokens": tr("logits of tokens"),
        "point": tr("any other point"),
    }


def kind_titles(tr: Tr) -> dict[EditKind, str]:
    return {
        "zero": tr("set to zero"),
        "scale": tr("scale"),
        "mean": tr("mean over positions"),
        "copy": tr("value of another position"),
        "add": tr("add a direction"),
        "clamp": tr("clamp"),
        "set": tr("type a value"),
        "knock out": tr("knock out"),
        "forbid": tr("forbid"),
        "force": tr("force"),
        "ban": tr("ban"),
        "bias": tr("bias"),
    }


def target_of(edit: Edit) -> Target:
    """The narrowest target that an edit belongs to."""
    return next(found for found in TARGETS if not found.points or edit.point in found.points)


def possible_targets(model: ModelFrame) -> tuple[Target, ...]:
    """Those that this model has something for."""
    names = {point.name for layer in model.layers for point in layer.points}
    names |= {point.name for point in (*model.points_before, *model.points_behind)}
    return tuple(found for found in TARGETS if not found.points or names & set(found.points))


def points_of(target: Target, model: ModelFrame, layer: int) -> tuple[str, ...]:
    """The points that the target can be edited at, in the order of the pass."""
    facts = (*model.points_before, *model.layers[layer].points, *model.points_behind)
    if target.points:
        named = {point.name for point in facts}
        return tuple(name for name in target.points if name in named)
    taken = {name for other in TARGETS for name in other.points}
    return tuple(point.name for point in facts if point.name not in taken and _can_change(point))


def _can_change(point: PointFacts) -> bool:
    """Whether its figures are of positions, may be any numbers, and the pass goes on with them."""
    figures = bool({"pos", "key"} & set(point.shape)) and point.dtype not in ("int64", "bool")
    return figures and not point.name.startswith(_ONLY_SHOWN) and "*" not in point.name


def kinds_of(target: Target, model: ModelFrame, layer: int, name: str) -> tuple[EditKind, ...]:
    """What can be done at a point of the target."""
    elsewhere, row = can_read_elsewhere(model, layer, name), takes_row(model, layer, name)
    possible = dict.fromkeys(_ELSEWHERE, elsewhere) | {"add": elsewhere or row}
    return tuple(kind for kind in target.kinds if possible.get(kind, True))


def can_read_elsewhere(model: ModelFrame, layer: int, name: str) -> bool:
    """Whether what stands at other positions can be had of a point."""
    facts = facts_of(model, layer, name)
    recorded = in_layers(model, name) or name.startswith(("hook_embed", "hook_pos_embed"))
    return recorded and facts is not None and "pos" in facts.shape and "key" not in facts.shape


def takes_row(model: ModelFrame, layer: int, name: str) -> bool:
    """Whether a row of the unembedding can be added at a point."""
    facts = facts_of(model, layer, name)
    return facts is not None and facts.shape[-1] == "d_model"


def point_at(model: ModelFrame, layer: int | None, name: str) -> str:
    """The point of this name, or the one that a stage ends with; "" is the end of the layer. "": there is none.

    What cannot be changed leads to what follows or comes before it: the event of the cache to what was appended, the
    choice of a token to the logits.
    """
    if layer is None:
        points, spare = (*model.points_before, *model.points_behind), LOGITS
    else:
        points, spare = model.layers[layer].points, ""
    named = [
        place for place, point in enumerate(points) if _INSTEAD.get(name, name) in (point.name, point.stage) and name
    ]
    place = named[0] if named else len(points) - 1 if not name else None
    if place is None:
        return ""
    after = (point for point in points[place : place + 2] if _can_change(point))
    return next((point.name for point in after), spare)


def facts_of(model: ModelFrame, layer: int, name: str) -> PointFacts | None:
    """What is known of a point of a layer, or of one outside the layers."""
    facts = (*model.layers[layer].points, *model.points_before, *model.points_behind)
    return next((point for point in facts if point.name == name), None)


def in_layers(model: ModelFrame, name: str) -> bool:
    """Whether a point lies in the layers, and not around them."""
    return all(point.name != name for point in (*model.points_before, *model.points_behind))


def heads_of(layer: LayerFacts, name: str) -> int:
    """How many heads a point of a layer has, 0 where it has no such axis."""
    shape = next((point.shape for point in layer.points if point.name == name), ())
    return layer.n_heads if "n_heads" in shape else layer.n_kv_heads if "n_kv_heads" in shape else 0


# ---- an edit in words ---------------------------------------------------------------------------------------------


def edit_text(edit: Edit, tr: Tr) -> str:
    """ "layer 3 · head 2 · z: scale by 0.5"; the name where the user gave one."""
    return edit.name or f"{what_text(edit, tr)}: {how_text(edit, tr)}"


def what_text(edit: Edit, tr: Tr) -> str:
    """ "layer 3 · heads 2, 5 · z"."""
    target = target_of(edit)
    layers = _counted(edit.layers, tr("layer {0}"), tr("layers {0}")) if edit.layers else ""
    heads = _counted(edit.heads, tr("head {0}"), tr("heads {0}")) if edit.heads else ""
    heads = heads or (tr("every head") if target.key in ("heads", "edge") else "")
    entries = _entries_text(edit, target, tr) if edit.entries else ""
    entries = entries or (tr("every neuron") if target.key == "neurons" else "")
    plain = target.key in ("edge", "neurons", "experts", "tokens")
    edge = tr("query {0} → key {1}").format(_span(edit.positions, tr), ranges(edit.keys)) if edit.keys else ""
    point = "" if plain else edit.point.rpartition("hook_")[2]
    return " · ".join(filter(None, (layers, heads, edge, entries, point)))


def _entries_text(edit: Edit, target: Target, tr: Tr) -> str:
    words = {
        "neurons": (tr("neuron {0}"), tr("neurons {0}")),
        "experts": (tr("expert {0}"), tr("experts {0}")),
        "tokens": (tr("token {0}"), tr("tokens {0}")),
        "dimensions": (tr("dimension {0}"), tr("dimensions {0}")),
    }
    return _counted(edit.entries, *words.get(target.entries, (tr("entry {0}"), tr("entries {0}"))))


def how_text(edit: Edit, tr: Tr) -> str:
    """ "scale by 0.5"."""
    texts: dict[EditKind, str] = {
        "zero": tr("zero"),
        "scale": tr("scale by {0}").format(figure(edit.value)),
        "mean": tr("mean over positions"),
        "copy": tr("value of position {0}").format(*edit.sources[:1] or ("?",)),
        "add": tr("add {0} × {1}").format(figure(edit.value), direction_text(edit, tr)),
        "clamp": tr("clamp to {0} … {1}").format(_limit_text(edit.low), _limit_text(edit.high)),
        "set": tr("set to {0}").format(figure(edit.value)),
        "knock out": tr("knocked out") if edit.renormalise else tr("knocked out, the rest left as it is"),
        "forbid": tr("forbidden"),
        "force": tr("forced"),
        "ban": tr("banned"),
        "bias": tr("bias {0}").format(figure(edit.value)),
    }
    return texts[edit.kind]


def direction_text(edit: Edit, tr: Tr) -> str:
    """What is added: "(position 4 − position 2)"."""
    if edit.token is not None:
        return tr("unembedding row of token {0}").format(edit.token)
    first, second = (*edit.sources, "?", "?")[:2]
    return tr("(position {0} − position {1})").format(first, second)


def scope_text(edit: Edit, tr: Tr) -> str:
    """ "positions 4–7 · only pass 3"."""
    where = tr("every position")
    if edit.positions is not None and not edit.keys:
        single = edit.positions[1] == edit.positions[0] + 1
        where = (tr("position {0}") if single else tr("positions {0}")).format(_span(edit.positions, tr))
    when = tr("every pass from now") if edit.step is None else tr("only pass {0}").format(edit.step)
    return when if edit.keys else f"{where} · {when}"


def past_text(edit: Edit, n_read: int, n_steps: int, tr: Tr) -> str:
    """Why an edit changes nothing for now; "" where it can. ``n_steps`` passes have read ``n_read`` positions."""
    if edit.step is not None and edit.step < n_steps:
        return tr("that pass is over: it takes effect in another run")
    end = None if edit.positions is None else edit.positions[1]
    if n_steps and end is not None and end <= n_read:
        return tr("read already: it takes effect when read again")
    return ""


def ranges(numbers: tuple[int, ...]) -> str:
    """ "0, 4–6"."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in found)


def span_text(positions: tuple[int, int | None] | None) -> str:
    """As it is typed: "" for all, "5", "5–8", "5–"."""
    if positions is None:
        return ""
    start, end = positions
    if end is None:
        return f"{start}–"
    return str(start) if end == start + 1 else f"{start}–{end - 1}"


def _span(positions: tuple[int, int | None] | None, tr: Tr) -> str:
    return span_text(positions) or tr("any")


def _counted(numbers: tuple[int, ...], one: str, several: str) -> str:
    return (one if len(numbers) == 1 else several).format(ranges(numbers))


def _limit_text(value: float) -> str:
    return figure(value) if math.isfinite(value) else ("−∞" if value < 0 else "∞")


# ---- words read as numbers ----------------------------------------------------------------------------------------


def read_numbers(text: str, what: str, tr: Tr) -> tuple[int, ...]:
    """ "0, 4-6" as numbers; "" is (). Raises EngineError, a sentence that names ``what``."""
    found: list[int] = []
    for part in text.replace("–", "-").replace(";", ",").split(","):
        if not part.strip():
            continue
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        low = _whole(first, what, tr)
        high = _whole(last, what, tr) if dash else low
        if high < low or high - low + len(found) >= _MOST_NUMBERS:
            raise EngineError(tr("“{0}” is no range of {1}; write for example 0, 4-6.").format(part.strip(), what))
        found.extend(range(low, high + 1))
    return tuple(dict.fromkeys(found))


def read_span(text: str, what: str, tr: Tr) -> tuple[int, int | None] | None:
    """ "5", "5-8" or "5-" as [start, end); "" is None. Raises EngineError."""
    text = text.strip().replace("–", "-")
    if not text:
        return None
    first, dash, last = (piece.strip() for piece in text.partition("-"))
    start = _whole(first, what, tr)
    if not dash:
        return start, start + 1
    end = _whole(last, what, tr) + 1 if last else None
    if end is not None and end <= start:
        raise EngineError(tr("“{0}” is no range of {1}; write for example 4, 4-6 or 4-.").format(text, what))
    return start, end


def _whole(text: str, what: str, tr: Tr) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise EngineError(
            tr("“{0}” cannot be read as {1}; write whole numbers, for example 0, 4-6.").format(text, what)
        )
    return int(text)


def read_number(text: str, what: str, tr: Tr) -> float:
    """A number such as −0.5; raises EngineError."""
    try:
        value = float(text.strip().replace("−", "-").replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise EngineError(tr("“{0}” cannot be read as {1}; write a number, for example 0.5.").format(text, what))
    return value
