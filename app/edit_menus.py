"""Menus that make edits of what lies under the mouse: an entry puts one into the tray, the last opens the form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from PySide6.QtCore import QPoint, QPointF
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QMenu, QWidget

from app.edit_tray import Tray
from app.edit_words import CHOICE, LOGITS, PATTERN, SCORES, Tr, Z, edit_text, span_text
from app.widgets.tips import plain_tip
from engine.edits import Edit

_BIAS = 5.0  # nats: a token of a thousandth is then about as likely as all others together


@dataclass(frozen=True)
class Choice:
    text: str
    edit: Edit


def head_choices(layer: int, head: int, tr: Tr) -> tuple[Choice, ...]:
    """What can be done with a head, at every position from now on."""
    zero = Edit("zero", Z, layers=(layer,), heads=(head,))
    return (
        Choice(tr("Zero head {0} of layer {1}").format(head, layer), zero),
        Choice(tr("Halve it"), replace(zero, kind="scale", value=0.5)),
        Choice(tr("Double it"), replace(zero, kind="scale", value=2.0)),
        Choice(tr("Set it to its mean over positions"), replace(zero, kind="mean")),
    )


def edge_choices(layer: int, head: int, queries: range, keys: range, tr: Tr) -> tuple[Choice, ...]:
    """Knock out what a cell of an attention map stands for."""
    every = Edit("knock out", SCORES, layers=(layer,), heads=(head,), keys=tuple(keys))
    edge = replace(every, positions=(queries.start, queries.stop))
    query, key = (_range(part) for part in (queries, keys))
    return (
        Choice(tr("Knock out query {0} → key {1} in head {2}").format(query, key, head), edge),
        Choice(tr("The same, the rest of the row left as it is"), replace(edge, point=PATTERN, renormalise=False)),
        Choice(tr("Knock out key {0} for every query of head {1}").format(key, head), every),
    )


def token_choices(token: int, text: str, tr: Tr) -> tuple[Choice, ...]:
    """Ban a token, or make it more or less likely."""
    ban = Edit("ban", LOGITS, entries=(token,), name=tr("ban “{0}”").format(text))
    more = replace(ban, kind="bias", value=_BIAS, name=tr("bias “{0}” by {1:g}").format(text, _BIAS))
    less = replace(more, value=-_BIAS, name=tr("bias “{0}” by −{1:g}").format(text, _BIAS))
    return (
        Choice(tr("Ban “{0}”").format(text), ban),
        Choice(tr("Make it likelier (+{0:g})").format(_BIAS), more),
        Choice(tr("Make it less likely (−{0:g})").format(_BIAS), less),
    )


def expert_choices(layer: int, expert: int, tr: Tr) -> tuple[Choice, ...]:
    """Keep a layer's router from an expert, or make it take it."""
    forbid = Edit("forbid", CHOICE, layers=(layer,), entries=(expert,))
    return (
        Choice(tr("Forbid expert {0} of layer {1}").format(expert, layer), forbid),
        Choice(tr("Force it"), replace(forbid, kind="force")),
    )


def stream_choices(layer: int, positions: range, point: str, tr: Tr) -> tuple[Choice, ...]:
    """What can be done with the residual stream that enters or leaves a layer."""
    zero = Edit("zero", point, layers=(layer,), positions=(positions.start, positions.stop))
    into = tr("Zero the stream entering layer {0} at position {1}")
    out_of = tr("Zero the stream leaving layer {0} at position {1}")
    text = (into if point == "hook_resid_pre" else out_of).format(layer, _range(positions))
    return (
        Choice(text, zero),
        Choice(tr("Set it to its mean over positions"), replace(zero, kind="mean")),
        Choice(tr("Double it"), replace(zero, kind="scale", value=2.0)),
    )


def edit_menu(parent: QWidget, tray: Tray, choices: Sequence[Choice], tr: Tr) -> QMenu:
    """A menu of these, and the form that begins with the first of them."""
    menu = QMenu(parent)
    for choice in choices:
        action = menu.addAction(choice.text)
        action.setToolTip(plain_tip(edit_text(choice.edit, tr)))
        action.triggered.connect(partial(tray.add, choice.edit))
    if choices:
        menu.addAction(tr("Edit…")).triggered.connect(partial(tray.asked.emit, choices[0].edit))
    return menu


def offer(event: QContextMenuEvent, menu: QMenu | None) -> None:
    """Open a menu where the mouse is; None: there is nothing to be done there."""
    if menu is None or menu.isEmpty():
        event.ignore()
        return
    menu.exec(event.globalPos())
    menu.deleteLater()


def under(event: QContextMenuEvent, picture: QWidget) -> QPointF | None:
    """Where on a picture a menu was asked for by the mouse; None where it was not on it. A key asks nowhere."""
    place = picture.mapFromGlobal(event.globalPos())
    inside = picture.isVisible() and picture.rect().contains(place)
    return QPointF(QPoint(place)) if inside and event.reason() == QContextMenuEvent.Reason.Mouse else None


def by_key(event: QContextMenuEvent, picture: QWidget) -> bool:
    """Whether the menu key was pressed in a picture."""
    return event.reason() == QContextMenuEvent.Reason.Keyboard and picture.hasFocus()


def asked_cell(
    event: QContextMenuEvent, picture: QWidget, at: Callable[[QPointF], object], picked: object
) -> object | None:
    """The part of a picture that a menu is asked for: the one under the mouse, or with the menu key the picked one."""
    place = under(event, picture)
    if place is not None:
        return at(place)
    return picked if by_key(event, picture) else None


def _range(numbers: range) -> str:
    return span_text((numbers.start, numbers.stop))
