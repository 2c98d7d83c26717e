"""What is said about the stages of a pass: their tensors' shapes as they are in this pass, and how a layer is built.

Imports no Qt: ``tr`` is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.layer_kinds import Translate, kept_after, layer_facts_text
from app.widgets.pass_marks import Place
from app.widgets.pass_rows import TOKEN
from engine.frames import LayerFacts, ModelFrame, PointFacts
from engine.point_table import of_any_expert

_OUTER_NORM = "ln_final."


@dataclass(frozen=True)
class Reading:
    """The positions [start, end) that a pass reads."""

    start: int
    end: int


def live_shape(point: PointFacts, layer: LayerFacts | None, reading: Reading) -> tuple[int | None, ...]:
    """The numbers of a point's shape in a pass; None where only the pass itself tells (positions that chose an
    expert). Behind the layers a pass goes on with its last position alone."""
    count = reading.end - reading.start
    behind = layer is None and point.name.startswith((_OUTER_NORM, "hook_logits"))
    grown: dict[str, int | None] = {"batch": 1, "pos": 1 if behind else count, "routed": None}
    if layer is not None:
        grown["key"] = kept_after(layer, reading.start) + count
    return tuple(grown.get(symbol, size) for symbol, size in zip(point.shape, point.sizes, strict=True))


def symbols_text(point: PointFacts) -> str:
    """ "[batch, pos, n_heads, d_head]"."""
    return f"[{', '.join(point.shape)}]"


def numbers_text(point: PointFacts, shape: tuple[int | None, ...]) -> str:
    """ "[1, 5, 9, 64]"; a symbol stays where its number is not known."""
    words = (symbol if size is None else str(size) for symbol, size in zip(point.shape, shape, strict=True))
    return f"[{', '.join(words)}]"


def whole_text(point: PointFacts, shape: tuple[int | None, ...]) -> str:
    """ "[batch, pos, n_heads, d_head] = [1, 5, 9, 64]"."""
    symbols, numbers = symbols_text(point), numbers_text(point, shape)
    return numbers if symbols == numbers else f"{symbols} = {numbers}"


def tight_text(point: PointFacts, shape: tuple[int | None, ...]) -> str:
    """ "5×9×64": the numbers alone, without the batch."""
    return _product(point, shape, ("batch",))


def position_text(point: PointFacts, shape: tuple[int | None, ...]) -> str:
    """ "9×64": those of one position."""
    return _product(point, shape, ("batch", "pos"))


def _product(point: PointFacts, shape: tuple[int | None, ...], without: tuple[str, ...]) -> str:
    pairs = zip(point.shape, shape, strict=True)
    return "×".join(symbol if size is None else str(size) for symbol, size in pairs if symbol not in without)


def stage_points(points: tuple[PointFacts, ...], stage: str) -> tuple[PointFacts, ...]:
    """The points that belong to a stage, in their order."""
    return tuple(point for point in points if point.group == stage)


def made_by(points: tuple[PointFacts, ...], stage: str) -> tuple[PointFacts, ...]:
    """Those of them that say what the stage made, those of one shape once: queries and keys of rope, not what a norm
    divides by; what was appended, not that it was."""
    group = stage_points(points, stage)
    told = [point for point in group if point.kind != "event" and not _on_the_way(point, stage)] or list(group)
    return tuple({point.shape: point for point in reversed(told)}.values())[::-1]


def ending_point(model: ModelFrame, layer: int | None, stage: str) -> str | None:
    """The name of the point that a stage ends with; of a layer as a whole ("") what leaves it; None: there is none."""
    if stage == TOKEN:
        return "hook_tokens" if model.points_before else None
    points = (*model.points_before, *model.points_behind) if layer is None else model.layers[layer].points
    ending = [place for place, point in enumerate(points) if point.stage == stage] if stage else [len(points) - 1]
    if not ending or not points:
        return None
    return points[ending[0] + (points[ending[0]].kind == "event")].name  # what was appended tells more than that it was


def place_of(model: ModelFrame, layer: int, point: str) -> Place | None:
    """The stage that a point of this layer, or of outside the layers, belongs to; None: there is no such point."""
    name = of_any_expert(point)
    of_layer = ((layer, facts) for facts in model.layers[layer].points)
    around = ((None, facts) for facts in (*model.points_before, *model.points_behind))
    return next(((where, facts.group) for where, facts in (*of_layer, *around) if facts.name == name), None)


def _on_the_way(point: PointFacts, stage: str) -> bool:
    place, _, leaf = point.name.rpartition(".")
    inner = leaf == "hook_normalized" and place not in ("ln1", "ln2", "ln1_post", "ln2_post", "ln_final")
    return leaf in ("hook_tokens", "hook_scale", "hook_resid_pre") or inner or (point.lazy and point.stage != stage)


def stage_text(points: tuple[PointFacts, ...], layer: LayerFacts | None, stage: str, reading: Reading | None) -> str:
    """A line for each tensor of a stage: its name, shape in symbols and numbers, and formula."""
    return "\n".join(_tensor_line(point, layer, reading) for point in stage_points(points, stage))


def _tensor_line(point: PointFacts, layer: LayerFacts | None, reading: Reading | None) -> str:
    shape = symbols_text(point) if reading is None else whole_text(point, live_shape(point, layer, reading))
    formula = f"    {point.formula}" if point.formula else ""
    return f"{point.name}  {shape}{formula}"


def built_text(model: ModelFrame, layer: int, tr: Translate) -> str:
    """How a layer is built, in lines: what it is, and what its branches have that others have not."""
    return "\n".join((layer_facts_text(model, layer, tr), *_build(model.layers[layer].stages, tr)))


def _build(stages: tuple[str, ...], tr: Translate) -> list[str]:
    has = set(stages)
    told = {
        tr("attention and MLP side by side: both read the stream that enters the layer"): "add 1" not in has
        and "attention out" in has,
        tr("norms before and after each branch"): {"norm 1", "norm 1 after"} <= has,
        tr("norms behind each branch only"): "norm 1 after" in has and "norm 1" not in has,
        tr("no rope: queries and keys are not turned by their positions"): "q k v" in has and "rope" not in has,
        tr("keys and values of all heads are made from one latent"): "latent" in has,
    }
    return [sentence for sentence, true in told.items() if true]
