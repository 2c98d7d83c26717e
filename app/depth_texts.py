"""What is told at each depth: of the stages of a pass, of panels, of the stages of sampling.

Plain words are data (``resources/depths``); formulas and code come from the engine's table of points, which makes them
from the specs of the layer that is looked at. Imports no Qt; texts are translated by whoever shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from app.depth import Depth
from app.engine_words import said
from app.glossary import glossary
from app.term_rows import TextsError, damaged, read_rows, text, texts
from engine.frames import LayerFacts, ModelFrame, PointFacts, StageFacts
from engine.point_code import SAMPLING_CODE

STAGES, PANELS, SAMPLING = "depths/stages.json", "depths/panels.json", "depths/sampling.json"


@dataclass(frozen=True)
class StageText:
    """``beside``: the layer must have this stage, too, or this trait (``_traits``); ``without``: it must not have that
    one; "" for any layer."""

    stage: str
    term: str
    story: str
    beside: str
    without: str


@dataclass(frozen=True)
class PanelText:
    """``mode``: what the panel shows of several things. Formula and code are given, or those of ``points``; of a stage
    of attention they are the layer's."""

    panel: str
    mode: str
    term: str
    story: str
    points: tuple[str, ...]
    formula: str
    code: str


@dataclass(frozen=True)
class StepText:
    """A stage of sampling."""

    stage: str
    term: str
    story: str
    formula: str


@dataclass(frozen=True)
class Texts:
    """All of them."""

    stages: tuple[StageText, ...] = ()
    panels: tuple[PanelText, ...] = ()
    sampling: tuple[StepText, ...] = ()


# -- reading -----------------------------------------------------------------------------------------------------


def read_texts() -> Texts:
    """Raises TextsError where a file is missing or damaged, or names a term that the glossary has not."""
    stages = tuple(
        StageText(
            text(STAGES, row, "stage"),
            text(STAGES, row, "term", needed=True),
            text(STAGES, row, "story", needed=True),
            text(STAGES, row, "with"),
            text(STAGES, row, "without"),
        )
        for row in read_rows(STAGES)
    )
    panels = tuple(
        PanelText(
            text(PANELS, row, "panel", needed=True),
            text(PANELS, row, "mode"),
            text(PANELS, row, "term", needed=True),
            text(PANELS, row, "story", needed=True),
            texts(PANELS, row, "points"),
            text(PANELS, row, "formula"),
            text(PANELS, row, "code"),
        )
        for row in read_rows(PANELS)
    )
    sampling = tuple(
        StepText(*(text(SAMPLING, row, key, needed=True) for key in ("stage", "term", "story", "formula")))
        for row in read_rows(SAMPLING)
    )
    terms = glossary().terms
    for term in (told.term for rows in (stages, panels, sampling) for told in rows):
        if term not in terms:
            raise damaged("depths", f"{term!r} is not in the glossary")
    return Texts(stages, panels, sampling)


@cache
def _texts() -> Texts:
    return read_texts()


def _read() -> tuple[Texts, str]:
    """Read once; where that fails it is tried again whenever somebody asks."""
    try:
        return _texts(), ""
    except TextsError as error:
        return Texts(), str(error)


def complaint() -> str:
    """The sentence about texts that cannot be read, "" where all is well; they are missing everywhere then."""
    return _read()[1]


# -- stages of a pass --------------------------------------------------------------------------------------------


def story_of(model: ModelFrame, layer: int | None, stage: str) -> str:
    """A stage in plain words; "" of a layer: the layer as a whole. "" where nothing is known about it."""
    found = _stage_text(model, layer, stage)
    return "" if found is None else found.story


def stage_term(model: ModelFrame, layer: int | None, stage: str) -> str:
    """The key of the glossary's entry for a stage."""
    found = _stage_text(model, layer, stage)
    return "pass" if found is None else found.term


def _stage_text(model: ModelFrame, layer: int | None, stage: str) -> StageText | None:
    has = _traits(model, layer)
    fitting = (row for row in _read()[0].stages if row.stage == stage)
    return next((row for row in fitting if row.beside in ("", *has) and row.without not in has), None)


def _traits(model: ModelFrame, layer: int | None) -> tuple[str, ...]:
    """What decides between texts: a layer's stages, and "alibi" where scores fall with distance; outside the layers
    "learned positions" where a token's row has that of its position added."""
    if layer is not None:
        facts = model.layers[layer]
        return (*facts.stages, "alibi") if facts.alibi else facts.stages
    return ("learned positions",) if any(one.name == "hook_pos_embed" for one in model.points_before) else ()


def formulas_text(points: Iterable[PointFacts], tr: Callable[[str], str]) -> str:
    """What each point is, and its formula: a line each."""
    return "\n".join(f"{said(point.formula, tr)}    {said(point.meaning, tr)}" for point in points if point.formula)


def code_text(points: Iterable[PointFacts]) -> str:
    """The statements of points that follow each other; those that several begin with once."""
    told: dict[str, None] = {}
    for point in points:
        told.update(dict.fromkeys(point.code.splitlines()))
    return "\n".join(told)


# -- panels ------------------------------------------------------------------------------------------------------


def panel_text(key: str, mode: str, depth: Depth, model: ModelFrame | None, layer: int) -> str:
    """What a panel shows, at a depth; "" at that of figures, and where there is nothing to say."""
    row = _panel_text(key, mode)
    if row is None or depth == "numbers":
        return ""
    if depth == "story":
        return row.story
    if (stage := _attention_stage(model, layer, mode)) is not None:
        return stage.formula if depth == "formula" else stage.code
    points = named_points(model, layer, row.points)
    if depth == "formula":
        return row.formula or "\n".join(point.formula for point in points if point.formula)
    return row.code or code_text(points)


def panel_term(key: str, mode: str) -> str:
    """The key of the glossary's entry for what a panel shows, "" where there is none."""
    row = _panel_text(key, mode)
    return "" if row is None else row.term


def _panel_text(key: str, mode: str) -> PanelText | None:
    rows = [row for row in _read()[0].panels if row.panel == key]
    return next((row for row in rows if row.mode == mode), rows[0] if rows else None)


def _attention_stage(model: ModelFrame | None, layer: int, mode: str) -> StageFacts | None:
    """What a layer has of a stage of attention; None for what is none, and without a model."""
    stages = () if model is None else _layer(model, layer).attention_stages
    return next((stage for stage in stages if stage.stage == mode), None)


def _layer(model: ModelFrame, layer: int) -> LayerFacts:
    """The nearest one that there is."""
    return model.layers[min(max(layer, 0), model.n_layers - 1)]


def named_points(model: ModelFrame | None, layer: int, names: Sequence[str]) -> list[PointFacts]:
    """Those of the names that a layer, or what lies around the layers, has; in their order."""
    if model is None:
        return []
    known = {point.name: point for point in (*model.points_before, *_layer(model, layer).points, *model.points_behind)}
    return [known[name] for name in names if name in known]


# -- sampling ----------------------------------------------------------------------------------------------------


def sampling_text(stage: str, depth: Depth) -> str:
    """A stage of sampling at a depth; at that of figures the plain words."""
    row = _step_text(stage)
    if row is None:
        return ""
    return {"formula": row.formula, "code": SAMPLING_CODE[stage]}.get(depth, row.story)


def sampling_term(stage: str) -> str:
    """The key of its entry in the glossary."""
    row = _step_text(stage)
    return "sampling" if row is None else row.term


def _step_text(stage: str) -> StepText | None:
    return next((row for row in _read()[0].sampling if row.stage == stage), None)
