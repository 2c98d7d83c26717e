"""Models as tables and cards for a terminal. Imports no Qt and no torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from app.models_rows import ModelRow, Wanted
from app.terminal import GAP, aligned, shortened, shown, too_long, wrapped
from engine.amounts import bytes_text, count_text
from engine.checkpoint.facts import facts
from engine.checkpoint.fits import DTYPES, DiskFit, Fit, fits, largest_context
from engine.checkpoint.traits import TRAITS
from engine.config import LatentAttentionSpec, ModelConfig, MoESpec
from engine.cost import cost, cost_rows

if TYPE_CHECKING:
    from engine.checkpoint.hub import HubModel

LEAST_LAST = 16  # columns that a shortened last column keeps
LONGEST_NAME = 44
VERDICTS = {"fits": "yes", "tight": "barely", "does not fit": "no"}


# -- tables ----------------------------------------------------------------------------------------------------------


def heading(wanted: Wanted, disk: DiskFit | None) -> list[str]:
    """For what memory is counted, and what is free."""
    device = wanted.device
    memory = f"{bytes_text(device.free)} of {bytes_text(device.total)} memory are free on {device.title}"
    free = "" if disk is None else f", {bytes_text(disk.free)} on the disk for downloads"
    return [f"{memory}{free}", f"counted for {wanted.context:,} positions, or a model's own limit, as {wanted.dtype}"]


def catalog_table(rows: Sequence[ModelRow], width: int) -> list[str]:
    """The models of the catalog, one a line."""
    head = ("name", "download", "parameters", "layers", "heads/KV", "experts", "needs", "fits", "", "licence", "shows")
    cells = [(row.name, bytes_text(row.size), *_sizes(row), *_fit(row), row.where, *_from_entry(row)) for row in rows]
    gated = [row.name for row in rows if row.entry is not None and row.entry.gated]
    table = _fitted([head, *cells], width, right=range(1, 7), drop=(9, 3, 5, 4))
    return [*table, *_wrapped_text(f"gated, so that a login is needed: {', '.join(gated)}" if gated else "", width)]


def local_table(rows: Sequence[ModelRow], width: int) -> list[str]:
    """The models of this computer, and below them what is wrong with some."""
    head = ("name", "in", "size", "parameters", "layers", "heads/KV", "experts", "needs", "fits", "detail")
    cells = [
        (shortened(shown(r.name), LONGEST_NAME), r.origin, bytes_text(r.size), *_sizes(r), *_fit(r), shown(r.detail))
        for r in rows
    ]
    said = [f"{shown(row.name)} ({row.origin}): {shown(row.complaint)}" for row in rows if row.complaint]
    table = _fitted([head, *cells], width, right=range(2, 8), drop=(4, 6, 5, 1))
    return [*table, *(line for sentence in said for line in _wrapped_text(sentence, width))]


def hub_table(models: Sequence[HubModel], width: int) -> list[str]:
    """What the hub lists, one a line."""
    head = ("id", "downloads", "likes", "gated", "updated", "licence")
    cells = [
        (shown(m.id), f"{m.downloads:,}", f"{m.likes:,}", "yes" if m.gated else "", day(m), shown(m.licence))
        for m in models
    ]
    return _fitted([head, *cells], width, right=(1, 2), drop=(2,))


def _sizes(row: ModelRow) -> tuple[str, str, str, str]:
    """Parameters, layers, heads and experts; nothing of a model that is not understood."""
    if row.config is None:
        return "", "", "", ""
    active = f" ({count_text(row.active)})" if row.active != row.parameters else ""
    return f"{count_text(row.parameters)}{active}", str(row.config.n_layers), _heads(row.config), _experts(row.config)


def _heads(config: ModelConfig) -> str:
    """ "32/8" query heads and key/value heads, "16/latent"; of kinds that differ the first."""
    spec = config.layers[0].attention
    return f"{spec.n_heads}/{'latent' if isinstance(spec, LatentAttentionSpec) else spec.n_kv_heads}"


def _experts(config: ModelConfig) -> str:
    """ "8 of 64", with "+ shared"; of kinds that differ the last: the first layers often have none."""
    spec = routed(config)
    if spec is None:
        return ""
    return f"{spec.top_k} of {spec.n_experts}{' + shared' if spec.shared is not None else ''}"


def routed(config: ModelConfig) -> MoESpec | None:
    """The experts of the last layer that has some."""
    return next((layer.mlp for layer in reversed(config.layers) if isinstance(layer.mlp, MoESpec)), None)


def _fit(row: ModelRow) -> tuple[str, str]:
    return ("", "") if row.fit is None else (bytes_text(row.fit.needed), VERDICTS[row.fit.verdict])


def _from_entry(row: ModelRow) -> tuple[str, str]:
    return ("" if row.entry is None else row.entry.licence), ", ".join(row.shows)


def day(model: HubModel) -> str:
    """When it was changed last, "" where the hub does not say."""
    return "" if model.updated is None else f"{model.updated:%Y-%m-%d}"


def _fitted(rows: Sequence[tuple[str, ...]], width: int, right: Iterable[int], drop: Sequence[int]) -> list[str]:
    """Aligned; while a line is too long the last column is shortened, columns are dropped in turn, and it goes too."""
    kept, numbers = list(rows), list(range(len(rows[0])))
    for column in (None, *drop, numbers[-1]):
        if column is not None and too_long(kept, width) > 0:
            place = numbers.index(column)
            kept, numbers = [(*row[:place], *row[place + 1 :]) for row in kept], [n for n in numbers if n != column]
        if numbers[-1] == len(rows[0]) - 1:
            kept = _last_shortened(kept, width)
    return aligned(kept, right=[numbers.index(column) for column in right if column in numbers])


def _last_shortened(rows: list[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """With as much of the last column as there is room for; as they are where that would be next to nothing."""
    room = max(len(row[-1]) for row in rows) - max(0, too_long(rows, width))
    return rows if room < LEAST_LAST else [(*row[:-1], _cut(row[-1], room)) for row in rows]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip(' ,')}…"


def _wrapped_text(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="    " if text.startswith(" ") else "  ") if text else []


# -- one model -------------------------------------------------------------------------------------------------------


def card(row: ModelRow, wanted: Wanted, disk: DiskFit | None, width: int) -> list[str]:
    """All that is known of one model: what it is, what it costs, whether it fits."""
    return [*_about(row, width), *_costs(row, wanted, width), *_fits(row, wanted, width), *_how(row, disk, width)]


def _about(row: ModelRow, width: int) -> list[str]:
    known = row.entry
    said = (known.kind, known.licence, known.hub, f"published as {known.dtype}") if known else (row.detail, row.origin)
    gated = "gated: the hub wants a login and its terms accepted" if known is not None and known.gated else ""
    first = f"{shown(row.title)}: {', '.join(shown(part) for part in (*said, bytes_text(row.size), gated) if part)}"
    shows = (f"  {name}: {TRAITS[name]}" for name in row.shows)
    said_of_it = (first, known.about if known else "", *shows)
    return [line for text in said_of_it for line in _wrapped_text(text, width)]


def _costs(row: ModelRow, wanted: Wanted, width: int) -> list[str]:
    if row.config is None or row.fit is None:
        return []
    sheet = cost(row.config, positions=row.fit.context, weight_dtype=row.fit.dtype)
    costs = cost_rows(sheet)
    indent = max(map(len, costs)) + len(GAP)
    lines = (f"{label.ljust(indent)}{value}" for label, value in costs.items())
    table = [part for line in lines for part in _under_each_other(line, width, indent)]
    return ["", *wrapped((f"{label} {value}" for label, value in facts(row.config).items()), width), "", *table]


def _under_each_other(line: str, width: int, indent: int) -> list[str]:
    """Wrapped, but not between a number and its per cent."""
    parts = textwrap.wrap(line.replace(" %", "\N{NO-BREAK SPACE}%"), width, subsequent_indent=" " * indent)
    return [part.replace("\N{NO-BREAK SPACE}", " ") for part in parts]


def _fits(row: ModelRow, wanted: Wanted, width: int) -> list[str]:
    """A line for every type, and the sentence of the one that is asked for."""
    if row.config is None or row.fit is None:
        return []
    head = ("in", "weights", "cache", "to work in", "needed", "fits", "largest context")
    lines = [_fit_line(row, row.config, wanted, dtype) for dtype in DTYPES]
    table = aligned([head, *lines], right=(1, 2, 3, 4, 6))
    return ["", *table, "", *_wrapped_text(f"{row.fit.sentence}", width)]


def _fit_line(row: ModelRow, config: ModelConfig, wanted: Wanted, dtype: str) -> tuple[str, ...]:
    fit: Fit = fits(config, row.parameters, wanted.context, wanted.device, dtype)
    largest = largest_context(config, row.parameters, wanted.device, dtype)
    amounts = map(bytes_text, (fit.weights, fit.cache, fit.working, fit.needed))
    return dtype, *amounts, VERDICTS[fit.verdict], f"{largest:,}"


def _how(row: ModelRow, disk: DiskFit | None, width: int) -> list[str]:
    """What to do with it next."""
    if row.complaint:
        return ["", *_wrapped_text(shown(row.complaint), width)]
    source = shown(row.source)
    if row.where:
        return ["", f"It is {row.where}: fluoroscope --model {source}"]
    return ["", *_wrapped_text("" if disk is None else disk.sentence, width), f"Get it: fluoroscope fetch {source}"]
