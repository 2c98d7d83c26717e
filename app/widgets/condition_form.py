"""One condition of a breakpoint as rows of controls: what is asked for, where, and from which value on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLineEdit, QSpinBox, QWidget

from app.breakpoint_words import kind_names
from app.breaks import OUTSIDE
from app.cursor import Look
from app.engine_words import stage_title
from app.widgets.decimal_box import DecimalBox
from app.widgets.pages import fill_box, limit
from engine.breakpoints import Test, TestKind
from engine.errors import EngineError
from engine.frames import ModelFrame

ANY = -1  # of the spin box of layers
POSITION, TEXT, TOKEN = "position", "text", "id"
_MOST = 2**31 - 1
_WITH_EXPERTS = ("expert", "router entropy")
_FIELDS: dict[TestKind, tuple[str, ...]] = {
    "stage": ("layer", "stage"),
    "token": ("word",),
    "not the best": (),
    "entropy": ("limit",),
    "lens": ("layer",),
    "attention": ("layer", "head", "word", "limit"),
    "expert": ("layer", "expert"),
    "router entropy": ("layer", "limit"),
    "norm": ("layer", "limit"),
    "not finite": (),
}


@dataclass(frozen=True)
class _Limit:
    """How the spin box of a limit counts: the sign before it, its unit, its end, its step and where it begins."""

    sign: str
    unit: str
    most: float
    step: float
    first: float


_LIMITS: dict[TestKind, _Limit] = {
    "entropy": _Limit("> ", " nats", 100, 0.1, 2.5),
    "attention": _Limit("≥ ", "", 1, 0.05, 0.5),
    "router entropy": _Limit("> ", " nats", 100, 0.1, 1.0),
    "norm": _Limit("> ", "", 1e9, 10, 100),
}


class ConditionForm(QWidget):
    """``changed``: the user chose something else. The first values are those of where the user looks.

    ``find_token`` makes a token id of what was typed.
    """

    changed = Signal()

    def __init__(self, find_token: Callable[[str], int]) -> None:
        super().__init__()
        self._find_token = find_token
        self._model: ModelFrame | None = None
        self._shown: TestKind | None = None
        self._position = 0  # where the user looks
        self._exact: dict[tuple[object, float], float] = {}  # a limit, by its kind and what the box shows of it
        self.kind, self.stage, self.target, self.word = QComboBox(), QComboBox(), QComboBox(), QLineEdit()
        self.layer, self.head, self.expert, self.limit = QSpinBox(), QSpinBox(), QSpinBox(), DecimalBox()
        self._form, self._parts = QFormLayout(self), dict[str, QWidget]()
        self._prepare()
        self._arrange()
        self._connect()
        self.show_model(None)

    # -- what is in it -----------------------------------------------------------------------------------------------

    def show_model(self, model: ModelFrame | None) -> None:
        """Offer what this model has."""
        self._model = model
        names = kind_names(self.tr)
        fill_box(self.kind, ((names[kind], kind) for kind in self._kinds()), self.kind.currentData())
        self._show_kind()

    def look_at(self, look: Look, position: int) -> None:
        """Begin with where the user looks, for a new condition."""
        for box, value in ((self.layer, look.layer), (self.head, look.head), (self.expert, look.expert or 0)):
            box.setValue(value)
        self._position = position
        if self._way() == POSITION:
            self.word.setText(str(position))

    def set_test(self, test: Test) -> None:
        """Show a condition that exists."""
        if self.kind.findData(test.kind) < 0:  # of another model
            self.kind.addItem(kind_names(self.tr)[test.kind], test.kind)
        self.kind.setCurrentIndex(self.kind.findData(test.kind))
        for box, value in ((self.layer, test.layer), (self.head, test.head), (self.expert, test.expert)):
            _hold(box, ANY if value is None else value)
        self._show_stages(test.stage)
        if test.kind in _LIMITS:
            self.limit.setValue(test.limit)
            self._exact = {(test.kind, self.limit.value()): test.limit}
        if "word" in _FIELDS[test.kind]:
            self._set_word(test)

    def _set_word(self, test: Test) -> None:
        given = ((POSITION, test.key), (TOKEN, test.token), (TEXT, test.text))
        way, value = next((way, value) for way, value in given if value is not None)
        self.target.setCurrentIndex(self.target.findData(way))
        self.word.setText(str(value))

    def test(self) -> Test:
        """What is chosen. Raises EngineError where something is left out or is no number, Unasked where the tokenizer
        must be asked for a token."""
        kind: TestKind = self.kind.currentData()
        fields = _FIELDS[kind]
        test = Test(kind)
        if "layer" in fields:
            test = replace(test, layer=None if self.layer.value() == ANY else self.layer.value())
        if "stage" in fields:
            test = replace(test, stage=str(self.stage.currentData()))
        if "limit" in fields:
            test = replace(test, limit=self._exact.get((kind, self.limit.value()), self.limit.value()))
        if "head" in fields:
            test = replace(test, head=self.head.value())
        if "expert" in fields:
            test = replace(test, expert=self.expert.value())
        return self._with_word(test) if "word" in fields else test

    def _with_word(self, test: Test) -> Test:
        text = self.word.text()
        if self._way() == TEXT:
            if not text:
                raise EngineError(self.tr("Type the text that the token is to contain."))
            return replace(test, text=text)
        if self._way() == TOKEN and self._model is not None:
            return replace(test, token=self._find_token(text.strip()))
        digits = text.strip()
        if not (digits.isascii() and digits.isdigit() and int(digits[:12]) <= _MOST and len(digits) <= 12):
            raise EngineError(self.tr("“{0}” is no whole number; type one, from 0 on.").format(text))
        return replace(test, key=int(digits)) if self._way() == POSITION else replace(test, token=int(digits))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _kinds(self) -> list[TestKind]:
        experts = self._model is None or any(layer.n_experts for layer in self._model.layers)
        return [kind for kind in _FIELDS if experts or kind not in _WITH_EXPERTS]

    def _way(self) -> str:
        return str(self.target.currentData())

    def _prepare(self) -> None:
        self.kind.setAccessibleName(self.tr("What to stop for"))
        self.layer.setSpecialValueText(self.tr("any"))
        self.word.setMaxLength(200)
        self.limit.setDecimals(3)
        for box in (self.layer, self.head, self.expert, self.limit):
            box.setKeyboardTracking(False)
        wide = self.fontMetrics().averageCharWidth()
        self.word.setMinimumWidth(wide * 12)
        self.kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.kind.setMinimumContentsLength(16)

    def _arrange(self) -> None:
        margin, words, row = self.fontMetrics().height() // 2, QWidget(), QHBoxLayout()
        self._form.setContentsMargins(margin, margin // 2, margin, margin // 2)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.FieldsStayAtSizeHint)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.target)
        row.addWidget(self.word, 1)
        words.setLayout(row)
        self._parts = {
            "layer": self.layer,
            "head": self.head,
            "expert": self.expert,
            "stage": self.stage,
            "word": words,
            "limit": self.limit,
        }
        self._form.addRow(self.kind)
        for name, text in self._names().items():
            self._form.addRow(text, self._parts[name])
            self._parts[name].setAccessibleName(text)
        self.target.setAccessibleName(self._names()["word"])

    def _names(self) -> dict[str, str]:
        return {
            "layer": self.tr("Layer"),
            "head": self.tr("Head"),
            "expert": self.tr("Expert"),
            "stage": self.tr("Stage"),
            "word": self.tr("Which"),
            "limit": self.tr("Limit"),
        }

    def _connect(self) -> None:
        self.kind.currentIndexChanged.connect(self._show_kind)
        self.layer.valueChanged.connect(lambda: self._show_stages(self.stage.currentData()))
        self.target.currentIndexChanged.connect(self._name_word)
        for signal in (
            self.kind.currentIndexChanged,
            self.layer.valueChanged,
            self.head.valueChanged,
            self.expert.valueChanged,
            self.limit.valueChanged,
            self.stage.currentIndexChanged,
            self.target.currentIndexChanged,
            self.word.textChanged,
        ):
            signal.connect(self.changed)

    def _show_kind(self) -> None:
        """The controls of what is asked for; a limit begins anew with its sort."""
        kind: TestKind = self.kind.currentData()
        for name, part in self._parts.items():
            self._form.setRowVisible(part, name in _FIELDS[kind])
        self._limit_boxes(kind)
        if kind != self._shown:
            self._shown = kind
            self.word.clear()
            self._show_ways(kind)
            self._show_limit(kind)
        self._show_stages(self.stage.currentData())

    def _limit_boxes(self, kind: TestKind) -> None:
        model = self._model
        n_layers = 1 if model is None else model.n_layers
        least = 0 if kind == "attention" else ANY  # a head is one of a layer
        heads = 1 if model is None else max(layer.n_heads for layer in model.layers)
        experts = 1 if model is None else max(layer.n_experts for layer in model.layers)
        for box, first, last in (
            (self.layer, least, n_layers - 1),
            (self.head, 0, heads - 1),
            (self.expert, 0, experts - 1),
        ):
            limit(box, first, max(0, last), min(max(box.value(), first), max(0, last)))

    def _show_limit(self, kind: TestKind) -> None:
        facts = _LIMITS.get(kind)
        if facts is not None:
            self.limit.setRange(0, facts.most)
            self.limit.setSingleStep(facts.step)
            self.limit.setPrefix(facts.sign)
            self.limit.setSuffix(facts.unit)
            self.limit.setValue(facts.first)

    def _show_ways(self, kind: TestKind) -> None:
        ways = {TEXT: self.tr("contains"), TOKEN: self.tr("is the token")}
        if kind == "attention":
            ways = {POSITION: self.tr("position"), **ways}
        fill_box(self.target, ((text, way) for way, text in ways.items()))
        self._name_word()

    def _name_word(self) -> None:
        names = {
            POSITION: self.tr("Position that is looked at"),
            TEXT: self.tr("Text of the token"),
            TOKEN: self.tr("The token, or its number"),
        }
        name = names.get(self._way(), "")
        self.word.setAccessibleName(name)
        self.word.setPlaceholderText(name)
        self.word.setToolTip(name)
        if self._way() == POSITION and not self.word.text():
            self.word.setText(str(self._position))

    def _show_stages(self, chosen: object) -> None:
        """Those of the layer; where it is any, of all layers and of outside."""
        names = ["", *self._stages()]
        if isinstance(chosen, str) and chosen not in names:
            names.append(chosen)
        titles = ((stage_title(name, self.tr) or self.tr("end of the layer"), name) for name in names)
        fill_box(self.stage, titles, chosen)

    def _stages(self) -> list[str]:
        if self._model is None:
            return list(OUTSIDE)
        layer = self.layer.value()
        if layer != ANY:
            return list(self._model.layers[min(layer, self._model.n_layers - 1)].stages)
        inside = dict.fromkeys(stage for facts in self._model.layers for stage in facts.stages)
        return [*OUTSIDE[:1], *inside, *OUTSIDE[1:]]


def _hold(box: QSpinBox, value: int) -> None:
    """Show a value, of another model too."""
    box.setMaximum(max(box.maximum(), value))
    box.setValue(value)
