"""The token strip: prompt and answer, token by token. The spine of the window."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPoint, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFontMetrics,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from app.expert_notes import expert_notes, weight_end
from app.panels.panel import Context, Panel
from app.theme import Theme, icon, lut
from app.widgets.scale import figure
from app.widgets.still_label import StillLabel
from app.widgets.token_view import Marks, TokenView, shown
from engine.frames import Answer, LayerFacts, Piece, RoutedTokens
from engine.questions import AskRoutedTokens, Question


class TokenStrip(Panel):
    """Tokens as boxes; the colour of a generated one is its raw probability. Click pins, click again frees.

    By expert, the colour and the number of a box are those of the expert of the pinned layer that weighed most. While
    an expert is picked, in whichever panel, they say how much that one weighed.
    """

    key = "strip"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._routed: RoutedTokens | None = None
        self._noted: tuple[object, ...] | None = None
        self.view = TokenView(context.run, context.theme, self)
        self.view.tip = self.tip
        self.view.setAccessibleName(self.tr("Tokens of the prompt and of the answer"))
        self.view.hovered.connect(self._hover)
        self.view.pressed.connect(self._toggle)
        self.view.freed.connect(self._free)
        self.view.installEventFilter(self)
        self.setFocusProxy(self.view)
        self.setAccessibleName(self.title())
        self._build()
        self.restyle()

    def _build(self) -> None:
        self.chip = QToolButton(self)
        self.chip.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.chip.clicked.connect(self._free)
        self.reading = StillLabel()
        self.reading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # never widens the window
        self.by_expert = QToolButton(self)
        self.by_expert.setText(self.tr("by expert"))
        self.by_expert.setCheckable(True)
        self.by_expert.setToolTip(self.tr("Colour tokens by the experts of the pinned layer, not by probability"))
        self.by_expert.toggled.connect(self._change_colouring)
        self.legend = _Legend(self.context.theme, self)
        self.legend.setMinimumWidth(1)  # it is hidden where it does not fit
        header = QHBoxLayout()
        header.setContentsMargins(6, 2, 6, 2)
        header.setSpacing(10)
        header.addWidget(self.chip)
        header.addWidget(self.reading, 1)
        header.addWidget(self.by_expert)
        header.addWidget(self.legend)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(header)
        column.addWidget(self.view, 1)

    # -- the contract of a panel ---------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Tokens")

    def badge(self) -> str:
        return self.tr("captured") if self.context.run.n_tokens else ""

    def caption(self) -> str:
        run = self.context.run
        return self.tr("{0} prompt + {1} generated").format(run.n_prompt, len(run.steps)) if run.n_tokens else ""

    def watches(self) -> Mapping[str, Question]:
        if not self._tells_experts() or self.context.run.n_visible == 0:
            return {}
        return {"strip.routed": AskRoutedTokens(self._layer())}

    def show_answer(self, key: str, answer: Answer) -> None:
        if isinstance(answer, RoutedTokens):
            self._routed = answer
            self._note()

    def show_run(self) -> None:
        if self.another_run():
            self._routed = None
        self.view.empty_text = self._empty_text()
        self.view.run = self.context.run
        self._note()
        self.view.sync()
        self.view.mark(self._marks())
        self._say_state()
        self.caption_changed.emit()

    def show_cursor(self) -> None:
        before = self.view.marks.pinned
        self._note()
        self.view.mark(self._marks())
        pinned = self.view.marks.pinned
        if pinned is not None and pinned != before:
            self.view.show_position(pinned)
        elif pinned is None and before is not None:
            self.view.show_end()
        self._say_state()

    def restyle(self) -> None:
        theme = self.context.theme
        self.view.restyle(theme)
        self.legend.restyle(theme)
        self.view.setMinimumHeight(self.view.lines_height(1))
        self.reading.setStyleSheet(f"color: {theme.faint};")
        self._chip_words = ""
        self._note()
        self.view.empty_text = self._empty_text()
        self.view.mark(self._marks())
        self._say_state()

    def values(self) -> dict[str, np.ndarray]:
        """``ids`` int64 [n], ``probabilities`` float64 [n] (NaN in the prompt), ``byte_ranges`` int64 [n, 2]."""
        run = self.context.run
        pieces = run.pieces
        routed = self._routed if self.view.notes is not None else None
        experts = {} if routed is None else {"experts": routed.ids, "expert_weights": routed.weights}
        chosen = [step.sampling.chosen_raw for step in run.steps]
        return {
            "ids": np.array([piece.id for piece in pieces], np.int64),
            "probabilities": np.array([np.nan] * run.n_prompt + chosen, np.float64),
            "byte_ranges": np.array([(piece.start, piece.end) for piece in pieces], np.int64).reshape(-1, 2),
            **experts,
        }

    def picture(self) -> QImage:
        return self.grab().toImage()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(900, self.view.lines_height(3) + self.chip.sizeHint().height() + 4)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit_legend()

    def _fit_legend(self) -> None:
        """On a narrow strip the state matters more than the legend."""
        words = self.fontMetrics().horizontalAdvance(self.reading.text())
        chips = self.chip.sizeHint().width() + (0 if self.by_expert.isHidden() else self.by_expert.sizeHint().width())
        needed = chips + words + self.legend.sizeHint().width() + 4 * self.fontMetrics().height()
        self.legend.setVisible(needed <= self.width())

    # -- experts -------------------------------------------------------------------------------------------------

    def _layer(self) -> int:
        """The pinned layer, within what the model has."""
        model = self.context.run.model
        return 0 if model is None else min(max(self.context.cursor.pinned.layer, 0), model.n_layers - 1)

    def _facts(self) -> LayerFacts | None:
        """Of the pinned layer, where it has experts."""
        model = self.context.run.model
        facts = None if model is None else model.layers[self._layer()]
        return None if facts is None or facts.experts is None else facts

    def _tells_experts(self) -> bool:
        wanted = self.by_expert.isChecked() or self.context.cursor.pinned.expert is not None
        return wanted and self._facts() is not None

    def _change_colouring(self) -> None:
        self._note()
        self.watches_changed.emit()

    def _note(self) -> None:
        """The experts' colours and numbers, or none; made anew only for other ones, since the mouse asks often."""
        if self._routed is not None and self._routed.layer != self._layer():
            self._routed = None
        facts, picked, theme = self._facts(), self.context.cursor.pinned.expert, self.context.theme
        wanted = (
            self._routed,
            self._layer(),
            facts,
            picked,
            theme,
            self._tells_experts(),
            self.context.run.has_experts,
        )
        if self._noted is not None and self._noted[0] is wanted[0] and self._noted[1:] == wanted[1:]:
            return
        self._noted = wanted
        self.by_expert.setVisible(self.context.run.has_experts)
        if facts is None or not self._tells_experts():
            self.view.show_notes(None)
            self.legend.show_quantity(self.tr("probability 0"), "1")
        else:
            self.view.show_notes(expert_notes(self._routed, facts.n_experts, picked, theme))
            strongest = self.tr("strongest expert of layer {0}").format(self._layer())
            weight = self.tr("weight of expert {0} of layer {1}: 0").format(picked, self._layer())
            end = figure(weight_end(self._routed))
            self.legend.show_quantity(strongest if picked is None else weight, "" if picked is None else end)
        self._fit_legend()

    # -- words ---------------------------------------------------------------------------------------------------

    def tip(self, position: int) -> str:
        """What the tool tip says of a position, as rich text with the token's own text escaped."""
        piece = self._piece(position)
        raw = piece.raw.hex(" ")
        rows = [
            (self.tr("text"), shown(piece)),
            (self.tr("bytes"), raw if len(raw) <= 96 else raw[:95] + "…"),
            (self.tr("id"), str(piece.id)),
            (self.tr("byte range"), f"{piece.start} … {piece.end}"),
            (self.tr("position"), str(position)),
            *self._choice(position),
            *self._experts_of(position),
        ]
        cells = "".join(f"<tr><td>{escape(name)}&nbsp;&nbsp;</td><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"

    def _experts_of(self, position: int) -> list[tuple[str, str]]:
        routed = self._routed
        if self.view.notes is None or routed is None or position >= len(routed.ids):
            return []
        pairs = zip(routed.ids[position].tolist(), routed.weights[position].tolist(), strict=True)
        weighed = ", ".join(f"{expert} ({weight:.4g})" for expert, weight in pairs)
        return [(self.tr("experts of layer {0}").format(routed.layer), weighed)]

    def _choice(self, position: int) -> list[tuple[str, str]]:
        step = self.context.run.step_choosing(position)
        rows = [(self.tr("state"), self._state(position))]
        if step is None:
            return [(self.tr("origin"), self.tr("prompt")), *rows]
        sampling = step.sampling
        return [
            (self.tr("probability"), f"{sampling.chosen_raw:.6g}"),
            (self.tr("after the stages"), f"{sampling.chosen_final:.6g}"),
            (self.tr("rank"), str(sampling.chosen_rank + 1)),
            *rows,
        ]

    def _state(self, position: int) -> str:
        if position in self.view.marks.reading:
            return self.tr("being read now")
        return self.tr("read") if position < self.context.run.n_read else self.tr("not read yet: no column")

    def _empty_text(self) -> str:
        if self.context.run.model is None:
            return self.tr("No model yet")
        return self.tr("No run yet: type a prompt and press Run")

    def _say_state(self) -> None:
        pinned = self.context.cursor.pinned.position
        words = self.tr("live") if pinned is None else self.tr("pinned {0}  ×").format(pinned)
        if self._chip_words != words:
            self._dress_chip(pinned, words)
        reading = self.view.marks.reading
        words = self.tr("reading {0}").format(_span(reading)) if reading else ""
        if self.reading.text() != words:
            self.reading.setText(words)
            self._fit_legend()

    def _dress_chip(self, pinned: int | None, words: str) -> None:
        self._chip_words = words
        self.chip.setText(words)
        self.chip.setIcon(icon("follow-live" if pinned is None else "pin", self.context.theme))
        follows = self.tr("Following the newest token")
        said = (
            follows if pinned is None else self.tr("Position {0} is pinned; press to follow the newest").format(pinned)
        )
        self.chip.setToolTip(said)
        self.chip.setAccessibleName(said)
        token = (
            self.tr("{0} at position {1} is pinned").format(self._label(pinned), pinned) if pinned is not None else ""
        )
        self.view.setAccessibleDescription(token or follows)

    def _label(self, position: int) -> str:
        return shown(self._piece(position)) if 0 <= position < self.context.run.n_tokens else ""

    def _piece(self, position: int) -> Piece:
        run = self.context.run
        return run.prompt[position] if position < run.n_prompt else run.steps[position - run.n_prompt].piece

    # -- the cursor ----------------------------------------------------------------------------------------------

    def _marks(self) -> Marks:
        run, cursor = self.context.run, self.context.cursor
        inside = run.in_pass and run.where.state == "paused"
        reading = range(run.where.start, run.where.end) if inside else range(0)
        return Marks(cursor.pinned.position, cursor.hovered.position, reading, run.where.kind, run.n_read)

    def _hover(self, position: int) -> None:
        cursor = self.context.cursor
        if position < 0:
            cursor.hover()
            cursor.say("")
        elif cursor.hovered.position != position:
            cursor.hover(position=position)
            cursor.say(self._readout(position))

    def _readout(self, position: int) -> str:
        step = self.context.run.step_choosing(position)
        words = self.tr("token {0}  {1}  id {2}").format(position, self._label(position), self._piece(position).id)
        return words if step is None else words + self.tr("  probability {0:.4g}").format(step.sampling.chosen_raw)

    def _toggle(self, position: int) -> None:
        self.context.cursor.pin(position=None if self.context.cursor.pinned.position == position else position)

    def _free(self) -> None:
        self.context.cursor.follow()
        self.view.show_end()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Keys come to the view first; it would scroll with the arrows."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and self._move(event.key()):
            return True
        return super().eventFilter(watched, event)

    def _move(self, key: int) -> bool:
        """Move the pin by a key; False where the key means nothing here."""
        last, pinned = self.context.run.n_tokens - 1, self.context.cursor.pinned.position
        if key == Qt.Key.Key_Escape and pinned is not None:
            self._free()
            return True
        if last < 0 or key not in _KEYS:
            return False
        here = last if pinned is None else min(pinned, last)
        step, lines = _KEYS[key]
        target = self.view.above_or_below(here, lines) if lines else here + step
        self.context.cursor.pin(position=min(max(target, 0), last))
        return True

    # -- the menu ------------------------------------------------------------------------------------------------

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        by_mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        point = self.view.viewport().mapFromGlobal(event.globalPos()).toPointF()
        position = self.view.position_at(point) if by_mouse else self.context.cursor.pinned.position
        menu = self.menu(position)
        menu.exec(event.globalPos() if by_mouse else self.mapToGlobal(QPoint(20, 20)))
        menu.deleteLater()

    def menu(self, position: int | None) -> QMenu:
        """What can be done with the token at a position (None: with the whole text only)."""
        menu = QMenu(self)
        if position is not None and 0 <= position < self.context.run.n_tokens:
            piece = self._piece(position)
            menu.addAction(self.tr("Copy token text")).triggered.connect(lambda: _copy(piece.text))
            menu.addAction(self.tr("Copy id {0}").format(piece.id)).triggered.connect(lambda: _copy(str(piece.id)))
        whole = menu.addAction(self.tr("Copy whole text"))
        whole.triggered.connect(lambda: _copy(self.whole_text()))
        whole.setEnabled(self.context.run.n_tokens > 0)
        return menu

    def whole_text(self) -> str:
        """Prompt and answer; characters that are split over tokens are whole again."""
        return b"".join(piece.raw for piece in self.context.run.pieces).decode("utf-8", "replace")


_FAR = 2**31
_KEYS: dict[int, tuple[int, int]] = {  # steps along the tokens, lines down
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Home: (-_FAR, 0),
    Qt.Key.Key_End: (_FAR, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)


def _span(positions: range) -> str:
    return str(positions.start) if len(positions) == 1 else f"{positions.start} … {positions.stop - 1}"


class _Legend(QWidget):
    """What dashes, underlines and colours of the boxes mean."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._quantity, self._end = "", ""
        self.show_quantity(self.tr("probability 0"), "1")

    def show_quantity(self, words: str, end: str) -> None:
        """What colours mean; a colour bar follows the words and ends at ``end``, unless that is ""."""
        if (words, end) == (self._quantity, self._end):
            return
        self._quantity, self._end = words, end
        probability = self.tr("Colour: probability of the chosen token before any stage, 0 to 1. Dashed: not read yet.")
        expert = self.tr("Colour: {0}. The number in a box says the same. Dashed: not read yet.").format(
            f"{words} … {end}" if end else words
        )
        said = probability if words == self.tr("probability 0") else expert
        self.setToolTip(said)
        self.setAccessibleName(said)
        self.updateGeometry()
        self.update()

    def restyle(self, theme: Theme) -> None:
        self.theme = theme
        self.updateGeometry()
        self.update()

    def _words(self) -> tuple[str, str, str]:
        return self.tr("not read yet"), self.tr("being read"), self._quantity

    def sizeHint(self) -> QSize:  # noqa: N802
        metrics = QFontMetrics(self.font())
        high = metrics.height()
        words = sum(metrics.horizontalAdvance(word) for word in (*self._words(), self._end))
        return QSize(int(words + high * 9.5), int(high * 1.4))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        high = QFontMetrics(self.font()).height()
        x = 0.0
        for draw, width, word in zip((self._dashes, self._line, None), (high, high, 0), self._words(), strict=True):
            if draw is not None:
                draw(painter, QRectF(x + 1, (self.height() - high) / 2 + 1, width - 2, high - 2))
            x = self._word(painter, x + width + high * 0.3, word) + high * 0.8
        if self._end:
            x = self._bar(painter, x - high * 0.5, high * 4.5, high)
            self._word(painter, x + high * 0.3, self._end)
        painter.end()

    def _word(self, painter: QPainter, x: float, word: str) -> float:
        wide = painter.fontMetrics().horizontalAdvance(word)
        painter.setPen(QColor(self.theme.faint))
        painter.drawText(QRectF(x, 0, wide + 2, self.height()), int(Qt.AlignmentFlag.AlignVCenter), word)
        return x + wide

    def _dashes(self, painter: QPainter, box: QRectF) -> None:
        pen = QPen(QColor(self.theme.text), 1.6)
        pen.setDashPattern([2.5, 2.0])
        painter.setPen(pen)
        painter.drawRoundedRect(box, 3, 3)

    def _line(self, painter: QPainter, box: QRectF) -> None:
        painter.setPen(QPen(QColor(self.theme.line), 1))
        painter.drawRoundedRect(box.adjusted(0, 0, 0, -4), 3, 3)
        painter.fillRect(QRectF(box.left(), box.bottom() - 2, box.width(), 3), QColor(self.theme.decode))

    def _bar(self, painter: QPainter, x: float, width: float, high: float) -> float:
        table = lut(self.theme.sequential)
        image = QImage(table.tobytes(), 256, 1, 1024, QImage.Format.Format_RGB32)
        painter.drawImage(QRectF(x, (self.height() - high * 0.6) / 2, width, high * 0.6), image)
        return x + width
