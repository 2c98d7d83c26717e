"""Where panels stand, as data: four layouts, and what becomes of them where there is less room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from app.layout_names import ALL, DEBUG, EXPLORE, TEACH

EASE = 1.25  # so much more than its least height a panel has, where another one stands below it

Stack = tuple[str, ...]
Column = tuple[Stack, ...]


@dataclass(frozen=True)
class Layout:
    """``columns``: from left to right, each from top to bottom; docks in one inner tuple are tabs, the first on top.

    ``widths`` share out the window's width, in the order of the columns; ``top_share`` is of its height.
    """

    name: str
    top: tuple[str, ...]
    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    top_share: float = 0.26  # of tokens and timeline


_FIRST = Layout(
    EXPLORE,
    ("strip",),
    (
        (("layers",),),
        (("attention", "experts", "residual", "lens", "activations", "cache", "tensors", "models"),),
        (("sampling", "branches", "edits", "breakpoints", "notes", "glossary"),),
    ),
    (16, 58, 26),
)
_FEW = Layout(
    TEACH,
    ("strip",),
    (
        (("layers",),),
        (("attention",),),
        (("sampling",),),
    ),
    (18, 46, 36),
)
_STEPPING = Layout(
    DEBUG,
    ("strip",),
    (
        (("layers",),),
        (("activations", "attention", "experts", "lens", "cache", "tensors", "models"), ("residual",)),
        (("breakpoints", "edits", "branches", "notes", "glossary"), ("sampling",)),
    ),
    (20, 46, 34),
    top_share=0.2,
)
_MANY = Layout(
    ALL,
    ("strip",),
    (
        (("layers",),),
        (("attention",), ("cache", "models")),
        (("residual", "lens", "activations", "tensors"), ("experts",)),
        (("sampling",), ("edits", "breakpoints", "branches", "notes", "glossary")),
    ),
    (12, 31, 29, 28),
    top_share=0.19,  # ten pictures share the rest
)
LAYOUTS = {layout.name: layout for layout in (_FIRST, _FEW, _STEPPING, _MANY)}
PROJECTOR = Layout(  # worn for a while, never chosen: large letters leave room for one panel beside the pass
    "projector",
    ("strip",),
    (
        (("layers",),),
        (_FIRST.columns[1][0] + _FIRST.columns[2][0],),
    ),
    (26, 74),
    top_share=0.24,
)


def mates(key: str) -> tuple[str, ...]:
    """The docks that share the place of this one at the first start."""
    return next((stack for column in _FIRST.columns for stack in column if key in stack), ())


@dataclass(frozen=True)
class Need:
    """Of a panel with its bars, pixels: its least width, and its least height at a width."""

    width: int
    height: Callable[[int], int]


def fitted(layout: Layout, needs: Mapping[str, Need], width: int, height: int, tabs: int) -> Layout:
    """A layout for so much room below what is on top, where a bar of tabs is ``tabs`` high; pixels.

    Columns are joined until every panel of each has its width, and the uppermost of those in front, whose controls
    take fewer lines in a wider one, their heights. Then what stands below another panel becomes a tab beside it, until
    each panel in front has its height.
    """
    while _too_narrow(layout, needs, width) or _too_low(layout, needs, width, height, tabs):
        layout = _with_fewer_columns(layout)
    widths = column_widths(layout, needs, width)
    columns = (_fitted_column(column, needs, w, height, tabs) for column, w in zip(layout.columns, widths, strict=True))
    return replace(layout, columns=tuple(columns))


def _too_narrow(layout: Layout, needs: Mapping[str, Need], width: int) -> bool:
    return len(layout.columns) > 1 and sum(least_widths(layout, needs)) > width


def _too_low(layout: Layout, needs: Mapping[str, Need], width: int, height: int, tabs: int) -> bool:
    pairs = zip(layout.columns, column_widths(layout, needs, width), strict=True)
    return len(layout.columns) > 2 and any(stack_heights(column[:1], needs, w, tabs)[0] > height for column, w in pairs)


def least_widths(layout: Layout, needs: Mapping[str, Need]) -> list[int]:
    """Of each column, as the widest of its panels needs it."""
    return [max((needs[key].width for key in keys if key in needs), default=0) for keys in map(_keys, layout.columns)]


def column_widths(layout: Layout, needs: Mapping[str, Need], width: int) -> list[int]:
    """Shares of a width; where one is too little for its column, the others give of what they have to spare."""
    shares = [share * width / sum(layout.widths) for share in layout.widths]
    least = least_widths(layout, needs)
    lacking = sum(max(0.0, need - share) for need, share in zip(least, shares, strict=True))
    spare = sum(max(0.0, share - need) for need, share in zip(least, shares, strict=True))
    kept = max(0.0, 1 - lacking / spare) if spare else 0.0
    return [round(need + max(0.0, share - need) * kept) for need, share in zip(least, shares, strict=True)]


def stack_heights(column: Column, needs: Mapping[str, Need], width: int, tabs: int) -> list[int]:
    """What each stack of a column needs, as the panel in front does."""
    known = [[key for key in stack if key in needs] for stack in column]
    return [needs[stack[0]].height(width) + tabs * (len(stack) > 1) if stack else 0 for stack in known]


def _fitted_column(column: Column, needs: Mapping[str, Need], width: int, height: int, tabs: int) -> Column:
    while len(column) > 1 and EASE * sum(stack_heights(column, needs, width, tabs)) > height:
        column = (*column[:-2], column[-2] + column[-1])
    return column


def _with_fewer_columns(layout: Layout) -> Layout:
    """The second and the third become one, row by row; the first, of the pass, is joined last and stays behind."""
    columns, widths = layout.columns, layout.widths
    if len(columns) == 2:
        return replace(layout, columns=(_joined(columns[1], columns[0]),), widths=(sum(widths),))
    joined = _joined(columns[1], columns[2])
    return replace(
        layout,
        columns=(columns[0], joined, *columns[3:]),
        widths=(widths[0], widths[1] + widths[2], *widths[3:]),
    )


def _joined(one: Column, other: Column) -> Column:
    return tuple(upper + lower for upper, lower in zip_longest(one, other, fillvalue=()))


def _keys(column: Column) -> Stack:
    return tuple(key for stack in column for key in stack)
