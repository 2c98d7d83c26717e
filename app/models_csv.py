"""Models as comma-separated values: sizes in bytes. Imports no Qt and no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.models_rows import ModelRow
from app.models_text import day, routed
from app.terminal import csv_line, shown

if TYPE_CHECKING:
    from engine.checkpoint.hub import HubModel

COLUMNS = (
    "name",
    "source",
    "origin",
    "here",
    "format",
    "detail",
    "bytes",
    "parameters",
    "active",
    "layers",
    "heads",
    "kv_heads",
    "experts",
    "top_k",
    "context",
    "licence",
    "gated",
    "kind",
    "dtype",
    "shows",
    "device",
    "computed_in",
    "positions",
    "weights",
    "cache",
    "working",
    "needed",
    "free",
    "fits",
    "largest_context",
    "complaint",
)
HUB_COLUMNS = ("id", "downloads", "likes", "gated", "licence", "updated", "tags")


def csv_table(rows: Iterable[ModelRow]) -> list[str]:
    """The heading and a line a model, sizes in bytes; an empty cell is not known or does not apply."""
    return [csv_line(COLUMNS), *(csv_line(_cells(row)) for row in rows)]


def _cells(row: ModelRow) -> tuple[object, ...]:
    names = shown(row.name), shown(row.source), row.origin, row.where, row.format, shown(row.detail), row.size
    known = row.entry
    published = (known.licence, known.gated, known.kind, known.dtype) if known is not None else (None,) * 4
    end = "; ".join(row.shows), *_fit_cells(row), shown(row.complaint)
    return *names, *_architecture(row), *published, *end


def _architecture(row: ModelRow) -> tuple[object, ...]:
    if row.config is None:
        return (None,) * 8
    heads, experts = row.config.layers[0].attention, routed(row.config)
    chosen = (None, None) if experts is None else (experts.n_experts, experts.top_k)
    sizes = row.parameters, row.active, row.config.n_layers, heads.n_heads, heads.n_kv_heads
    return *sizes, *chosen, row.config.n_ctx


def _fit_cells(row: ModelRow) -> tuple[object, ...]:
    fit = row.fit
    if fit is None:
        return (None,) * 10
    asked = fit.device.name, fit.dtype, fit.context
    return *asked, fit.weights, fit.cache, fit.working, fit.needed, fit.device.free, fit.verdict, row.largest


def hub_csv(models: Iterable[HubModel]) -> list[str]:
    """The heading and a line a model of the hub."""
    lines = (
        csv_line((shown(m.id), m.downloads, m.likes, m.gated, shown(m.licence), day(m), shown("; ".join(m.tags))))
        for m in models
    )
    return [csv_line(HUB_COLUMNS), *lines]
