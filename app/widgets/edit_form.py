"""The form for one edit: what, where, how, when. It shows only the fields that mean something together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import edit_words as words
from app.engine_words import said
from app.theme import Theme
from app.token_texts import Unasked
from app.widgets.pages import fill_box
from app.widgets.scale import exact
from engine.edits import Edit, EditKind
from engine.errors import EngineError
from engine.frames import ModelFrame, TokenFound

_DIRECTIONS = ("difference", "token")
_NEEDED = ("tokens", "experts")  # entries that mean nothing when all are meant
_LONGEST_NAME = 120


class EditForm(QWidget):
    """``finished`` gives the edit, or None where the user left. ``find_token`` makes a token id of what was typed.

    ``token_asked``: a text that only the tokenizer knows; ``take_token`` is given its answer, and the form goes on.
    """

    finished = Signal(object)
    token_asked = Signal(str)

    def __init__(self, theme: Theme, find_token: Callable[[str], int]) -> None:
        super().__init__()
        self._find_token = find_token
        self._model: ModelFrame | None = None
        self._edit: Edit | None = None  # what is changed, or what a new one begins with
        self._asked = ""  # the token that is waited for
        self._fields: dict[str, QWidget] = {}
        self._make_fields()
        self._arrange()
        self._connect()
        self.restyle(theme)

    # --- building ---------------------------------------------------------------------------------------------

    def _make_fields(self) -> None:
        self.target, self.kind, self.point = QComboBox(), QComboBox(), QComboBox()
        self.layers, self.heads, self.entries = QLineEdit(), QLineEdit(), QLineEdit()
        self.positions, self.keys = QLineEdit(), QLineEdit()
        self.value, self.low, self.high, self.source = QLineEdit(), QLineEdit(), QLineEdit(), QLineEdit()
        self.direction, self.first, self.second, self.token = QComboBox(), QLineEdit(), QLineEdit(), QLineEdit()
        self.renormalise = QCheckBox(self.tr("the rest of the row sums to 1 again"))
        self.only_pass, self.name = QLineEdit(), QLineEdit()
        self.direction.addItem(self.tr("position less position"), _DIRECTIONS[0])
        self.direction.addItem(self.tr("unembedding row of a token"), _DIRECTIONS[1])
        for field in (self.layers, self.heads, self.positions):
            field.setPlaceholderText(self.tr("all"))
        self.keys.setPlaceholderText(self.tr("at least one"))
        self.name.setMaxLength(_LONGEST_NAME)
        self.only_pass.setPlaceholderText(self.tr("every pass from now"))
        self.low.setPlaceholderText("−∞")
        self.high.setPlaceholderText("∞")

    def _rows(self) -> tuple[tuple[str, str, QWidget, str], ...]:
        """Key, name, field and tip of every row, from top to bottom."""
        several = self._several()
        span = self.tr("One position, a range 4-6, or 4- for all from there on; nothing means all")
        return (
            ("target", self.tr("What"), self.target, self.tr("What is edited")),
            ("point", self.tr("Point"), self.point, self.tr("Where in the pass it is edited")),
            ("kind", self.tr("How"), self.kind, self.tr("What is done to it")),
            ("value", self.tr("Value"), self.value, self.tr("A number")),
            ("low", self.tr("At least"), self.low, self.tr("What is less becomes this")),
            ("high", self.tr("At most"), self.high, self.tr("What is more becomes this")),
            ("source", self.tr("Of position"), self.source, self.tr("Whose value is put there")),
            ("direction", self.tr("Direction"), self.direction, self.tr("What is added, times the value")),
            ("first", self.tr("Position"), self.first, self.tr("What stands here …")),
            ("second", self.tr("less position"), self.second, self.tr("… less what stands here")),
            ("token", self.tr("Token"), self.token, self._token_tip()),
            ("layers", self.tr("Layers"), self.layers, several),
            ("heads", self.tr("Heads"), self.heads, several),
            ("entries", self.tr("Entries"), self.entries, several),
            ("positions", self.tr("Positions"), self.positions, span),
            ("keys", self.tr("Keys"), self.keys, self.tr("Positions that are looked at; ranges as above")),
            ("renormalise", self.tr("Then"), self.renormalise, self.tr("Scores −∞; otherwise only the weight is 0")),
            ("only_pass", self.tr("Only pass"), self.only_pass, self.tr("The number of one pass; nothing means all")),
            ("name", self.tr("Name"), self.name, self.tr("How it is called in the tray; may be left empty")),
        )

    def _several(self) -> str:
        return self.tr("Whole numbers and ranges, for example 0, 4-6; nothing means all")

    def _token_tip(self) -> str:
        return self.tr("Its text or its number; ␣ or quotation marks for a space before it: ␣word, “ word”")

    def _arrange(self) -> None:
        body = QWidget()
        self._form = QFormLayout(body)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for key, name, field, tip in self._rows():
            self._fields[key] = field
            field.setAccessibleName(name)
            field.setToolTip(tip)
            self._form.addRow(name, field)
            if isinstance(field, QComboBox):
                field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                field.setMinimumContentsLength(8)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(body)
        self.wrong, self.done, self.leave = QLabel(wordWrap=True), QPushButton(), QPushButton(self.tr("Cancel"))
        self.wrong.setTextFormat(Qt.TextFormat.PlainText)
        self.wrong.setMargin(self.fontMetrics().height() // 3)
        self.done.setDefault(True)
        below = QHBoxLayout()
        below.setContentsMargins(6, 4, 6, 6)
        below.addStretch(1)
        below.addWidget(self.leave)
        below.addWidget(self.done)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scroll, 1)
        column.addWidget(self.wrong)
        column.addLayout(below)

    def _connect(self) -> None:
        self.target.currentIndexChanged.connect(self._fill_points)
        self.point.currentIndexChanged.connect(self._fill_kinds)
        self.kind.currentIndexChanged.connect(self._suit)
        self.direction.currentIndexChanged.connect(self._suit)
        self.done.clicked.connect(self._finish)
        self.leave.clicked.connect(lambda: self.finished.emit(None))
        for field in self._fields.values():
            if isinstance(field, QLineEdit):
                field.returnPressed.connect(self._finish)
                field.textEdited.connect(self._wait_no_more)
            elif isinstance(field, QComboBox):
                field.activated.connect(self._wait_no_more)

    # --- filling in -------------------------------------------------------------------------------------------

    def open(self, model: ModelFrame, edit: Edit, *, new: bool) -> None:
        """Show an edit to change, or one to begin a new one with."""
        self._model, self._edit, self._asked = model, edit, ""
        self.wrong.setText("")
        self.wrong.hide()
        self.done.setText(self.tr("Add") if new else self.tr("Change"))
        titles, mine = words.target_titles(self.tr), words.target_of(edit)
        fill_box(self.target, [(titles[one.key], one.key) for one in words.possible_targets(model)], mine.key)
        self._fill_points()
        self.point.setCurrentIndex(max(0, self.point.findData(edit.point)))
        self._fill_kinds()
        self.kind.setCurrentIndex(max(0, self.kind.findData(edit.kind)))
        self._write(edit)
        self._suit()
        self.target.setFocus()

    def _write(self, edit: Edit) -> None:
        """The edit in the text fields."""
        several = ((self.layers, edit.layers), (self.heads, edit.heads), (self.entries, edit.entries))
        for field, numbers in (*several, (self.keys, edit.keys)):
            field.setText(words.ranges(numbers))
        self.positions.setText(words.span_text(edit.positions))
        self.value.setText(exact(edit.value))
        for field, limit in ((self.low, edit.low), (self.high, edit.high)):
            field.setText(exact(limit) if math.isfinite(limit) else "")
        sources = [str(source) for source in edit.sources] + ["", ""]
        self.source.setText(sources[0])
        self.first.setText(sources[0])
        self.second.setText(sources[1])
        self.token.setText("" if edit.token is None else str(edit.token))
        self.direction.setCurrentIndex(_DIRECTIONS.index("difference" if edit.token is None else "token"))
        self.renormalise.setChecked(edit.renormalise)
        self.only_pass.setText("" if edit.step is None else str(edit.step))
        self.name.setText(edit.name)

    def _target(self) -> words.Target:
        return next(one for one in words.TARGETS if one.key == self.target.currentData())

    def _fill_points(self) -> None:
        """The points and kinds of the chosen target."""
        if self._model is None or self._edit is None:
            return
        points = words.points_of(self._target(), self._model, self._layer())
        fill_box(self.point, [(name, name) for name in points], self.point.currentData() or self._edit.point)
        self._fill_kinds()

    def _fill_kinds(self) -> None:
        """What can be done at the chosen point."""
        if self._model is None:
            return
        titles, name = words.kind_titles(self.tr), self.point.currentData() or ""
        kinds = words.kinds_of(self._target(), self._model, self._layer(), name)
        fill_box(self.kind, [(titles[kind], kind) for kind in kinds], self.kind.currentData() or "")
        self._suit()

    def _layer(self) -> int:
        """A layer that the points are shown of."""
        assert self._model is not None
        assert self._edit is not None
        return min(max(self._edit.layers or (0,)), self._model.n_layers - 1)

    def _kind(self) -> EditKind:
        kind: EditKind = self.kind.currentData()
        return kind

    def _suit(self) -> None:
        """Only the rows that mean something together."""
        if self._model is None:
            return
        shown = self._shown()
        for key, field in self._fields.items():
            self._form.setRowVisible(field, key in shown)
        names = {"dimensions": self.tr("Dimensions"), "neurons": self.tr("Neurons"), "experts": self.tr("Experts")}
        names |= {"tokens": self.tr("Tokens"), "entries": self.tr("Entries")}
        self._rename(self.entries, names.get(self._target().entries, names["entries"]))
        by_text = self._target().entries == "tokens"
        self.entries.setToolTip(self._token_tip() if by_text else self._several())
        needed = self._target().entries in _NEEDED
        self.entries.setPlaceholderText(self.tr("at least one") if needed else self.tr("all"))
        self._rename(self.positions, self.tr("Queries") if self._target().keys else self.tr("Positions"))
        meanings = {"scale": self.tr("Factor"), "add": self.tr("Times"), "bias": self.tr("Bias")}
        self._rename(self.value, meanings.get(self._kind(), self.tr("Value")))

    def _both_directions(self) -> bool:
        assert self._model is not None
        here = (self._model, self._layer(), self.point.currentData() or "")
        return words.takes_row(*here) and words.can_read_elsewhere(*here)

    def _by_token(self) -> bool:
        """Whether the direction to add is a token's."""
        assert self._model is not None
        if self._both_directions():
            return bool(self.direction.currentData() == "token")
        return words.takes_row(self._model, self._layer(), self.point.currentData() or "")

    def _rename(self, field: QWidget, name: str) -> None:
        label = self._form.labelForField(field)
        if isinstance(label, QLabel):
            label.setText(name)
        field.setAccessibleName(name)

    def _shown(self) -> set[str]:
        """The keys of the rows that are needed."""
        assert self._model is not None
        target, name, model = self._target(), self.point.currentData() or "", self._model
        found = {"target", "kind", "positions", "only_pass", "name", *_OF_KIND.get(self._kind(), ())}
        if self._kind() == "add":
            found -= set() if self._both_directions() else {"direction"}
            found |= {"token"} if self._by_token() else {"first", "second"}
        found |= {"point"} if self.point.count() > 1 and not target.keys else set()
        found |= {"layers"} if words.in_layers(model, name) else set()
        found |= {"heads"} if target.heads and words.heads_of(model.layers[self._layer()], name) else set()
        found |= {"entries"} if target.entries else set()
        return found | ({"keys", "renormalise"} if target.keys else set())

    # --- reading ----------------------------------------------------------------------------------------------

    def edit(self) -> Edit:
        """What the fields say; raises EngineError, a sentence, where they make no edit."""
        assert self._model is not None
        assert self._edit is not None
        target, kind, shown = self._target(), self._kind(), self._shown()
        made = Edit(
            kind,
            self._point_name(target),
            layers=self._layers() if "layers" in shown else (),
            positions=self._span_of(self.positions),
            heads=self._numbers_of(self.heads) if "heads" in shown else (),
            entries=self._entries_of(target) if "entries" in shown else (),
            keys=self._keys() if target.keys else (),
            renormalise=self.renormalise.isChecked() if target.keys else True,
            step=self._pass(),
            strength=self._edit.strength,
            on=self._edit.on,
            name=self.name.text().strip() or self._name_of_tokens(target, kind),
        )
        return replace(made, **_READERS[kind](self) if kind in _READERS else {})

    def _name_of_tokens(self, target: words.Target, kind: EditKind) -> str:
        """Tokens that were typed as text are called so; numbers speak for themselves."""
        added = kind == "add" and self._by_token()
        text = self.token.text() if added else self.entries.text() if target.entries == "tokens" else ""
        if not text.strip(" 0123456789,"):
            return ""
        title = words.kind_titles(self.tr)[kind] if not added else f"+ {self.value.text().strip()} ×"
        return f"{title} {text.strip()}"[:_LONGEST_NAME]

    def _point_name(self, target: words.Target) -> str:
        if target.keys:
            return words.SCORES if self.renormalise.isChecked() else words.PATTERN
        return str(self.point.currentData())

    def _layers(self) -> tuple[int, ...]:
        """Those that have the point, where all are meant."""
        assert self._model is not None
        found, name = self._numbers_of(self.layers), str(self.point.currentData())
        having = tuple(n for n, layer in enumerate(self._model.layers) if any(p.name == name for p in layer.points))
        if max(found, default=0) >= len(self._model.layers):
            form = self.tr("This model has no layer {0}; its layers are 0 to {1}.")
            raise EngineError(form.format(max(found), len(self._model.layers) - 1))
        missing = [layer for layer in found if layer not in having]
        if missing:
            raise EngineError(self.tr("Layer {0} of this model has no {1}; name another.").format(missing[0], name))
        return found or having

    def _entries_of(self, target: words.Target) -> tuple[int, ...]:
        if target.entries == "tokens":
            found = tuple(self._find_token(part) for part in _parts(self.entries.text()))
        else:
            found = self._numbers_of(self.entries)
        if not found and target.entries in _NEEDED:
            raise EngineError(
                self.tr("Which {0} are meant is not said; name at least one.").format(_called(self.entries))
            )
        return found

    def _keys(self) -> tuple[int, ...]:
        found = self._numbers_of(self.keys)
        if not found:
            raise EngineError(self.tr("Which keys are knocked out is not said; name at least one position."))
        return found

    def _pass(self) -> int | None:
        found = self._span_of(self.only_pass)
        return None if found is None else found[0]

    def _numbers_of(self, field: QLineEdit) -> tuple[int, ...]:
        return words.read_numbers(field.text(), _called(field), self.tr)

    def _span_of(self, field: QLineEdit) -> tuple[int, int | None] | None:
        return words.read_span(field.text(), _called(field), self.tr)

    def _number_of(self, field: QLineEdit) -> float:
        return words.read_number(field.text(), _called(field), self.tr)

    def _position_of(self, field: QLineEdit) -> int:
        found = self._span_of(field)
        if found is None:
            raise EngineError(self.tr("“{0}” is empty; write the number of a position.").format(field.accessibleName()))
        return found[0]

    def _limits(self) -> dict[str, object]:
        low = self._number_of(self.low) if self.low.text().strip() else -math.inf
        high = self._number_of(self.high) if self.high.text().strip() else math.inf
        if not (math.isfinite(low) or math.isfinite(high)):
            raise EngineError(self.tr("Neither end of the clamp is given; write at least one."))
        return {"low": low, "high": high}

    def _adding(self) -> dict[str, object]:
        value = {"value": self._number_of(self.value)}
        if self._by_token():
            return {**value, "token": self._find_token(self.token.text().strip())}
        return {**value, "sources": (self._position_of(self.first), self._position_of(self.second))}

    def _finish(self) -> None:
        self._asked = ""
        try:
            made = self.edit()
        except Unasked as unasked:
            self._asked = unasked.text
            self._say(str(unasked))
            self.token_asked.emit(unasked.text)
        except EngineError as error:
            self._say(said(str(error), self.tr))
        else:
            self.finished.emit(made)

    def take_token(self, answer: TokenFound) -> None:
        """What the tokenizer says of a text, where that is still waited for."""
        if answer.text != self._asked:
            return
        if answer.id is None:
            self._asked = ""
            self._say(said(answer.sentence, self.tr))
        else:
            self._finish()

    def _wait_no_more(self) -> None:
        """Something else is typed: the answer to what stood there does not finish the form."""
        if self._asked:
            self._asked = ""
            self.wrong.hide()

    def _say(self, sentence: str) -> None:
        self.wrong.setText(sentence)
        self.wrong.show()

    def restyle(self, theme: Theme) -> None:
        self.wrong.setStyleSheet(f"color: {theme.cut};")


_OF_KIND: dict[EditKind, tuple[str, ...]] = {
    "scale": ("value",),
    "copy": ("source",),
    "add": ("value", "direction"),
    "clamp": ("low", "high"),
    "set": ("value",),
    "bias": ("value",),
}
_READERS: dict[EditKind, Callable[[EditForm], dict]] = {
    "scale": lambda form: {"value": form._number_of(form.value)},
    "copy": lambda form: {"sources": (form._position_of(form.source),)},
    "add": EditForm._adding,
    "clamp": EditForm._limits,
    "set": lambda form: {"value": form._number_of(form.value)},
    "bias": lambda form: {"value": form._number_of(form.value)},
}


def _called(field: QWidget) -> str:
    """The name of a field inside a sentence."""
    return field.accessibleName().lower()


def _parts(text: str) -> list[str]:
    """Texts between commas; in quotation marks a comma and white space belong to the text."""
    found, quoted, part = [], False, ""
    for letter in text:
        quoted ^= letter in '“”"'
        if letter == "," and not quoted:
            found.append(part)
            part = ""
        else:
            part += letter
    return [piece.strip() for piece in (*found, part) if piece.strip()]
