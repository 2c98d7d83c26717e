"""The panel of breakpoints: the list, the form for every kind, what a hit looks like; and the speed of a pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit

from app.breaks import Breaks
from app.panels.attention import AttentionPanel
from app.panels.breakpoints import FORM, LIST, BreakpointsPanel
from app.panels.experts import ExpertsPanel
from app.panels.residual import ResidualPanel
from app.panels.sampling import SamplingPanel
from app.run import Run
from app.speed_control import SpeedControl
from app.speeds import FULL
from app.theme import DARK, LIGHT
from app.widgets.condition_form import ANY, POSITION, TEXT, TOKEN, ConditionForm
from engine.breakpoints import NOT_FINITE, Breakpoint, HitFrame, TestKind
from engine.breakpoints import Test as Condition
from engine.frames import ModelFrame, TokenFound, Where
from engine.questions import AskToken
from tests.app.kinds import KindsOnDisk
from tests.app.made_runs import generated, model
from tests.app.panel_runs import Shown, show

EXPERTS = ("expert", "router entropy")
PASS = Where("paused", 3, "decode", 7, 8, None, "sampling")


def shown(qtbot: Any, run: Run | None = None, **options: Any) -> tuple[Shown, BreakpointsPanel]:
    made = show(qtbot, BreakpointsPanel, run or generated(3), **{"size": (400, 600), **options})
    made.panel.show_run()
    return made, made.panel


def with_experts(n_layers: int = 6) -> ModelFrame:
    """As the model of made runs, but the layers from 2 on have 8 experts."""
    plain = model(n_layers)
    routed = tuple(replace(facts, n_experts=8) if n >= 2 else facts for n, facts in enumerate(plain.layers))
    return replace(plain, layers=routed)


def choose(form: ConditionForm, kind: TestKind) -> None:
    form.kind.setCurrentIndex(form.kind.findData(kind))


def press(button: QAbstractButton) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


# -- the list ----------------------------------------------------------------------------------------------------------


def test_nan_is_watched_for_from_the_start(qtbot: Any) -> None:
    made, panel = shown(qtbot, Run())
    assert made.panel.context.breaks.breakpoints == (NOT_FINITE,)
    row = panel.rows.rows[0]
    assert (row.words.text(), row.on.isChecked(), row.hits.text()) == ("NaN or infinity anywhere", True, "0 hits")
    assert not row.buttons["remove"].isVisible(), "it can be switched off only"
    assert panel.caption() == "1 of 1 on"


def test_rows_follow_the_list(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    breaks = panel.context.breaks
    first, second = breaks.add((Condition("stage", 3, "rope"),)), breaks.add((Condition("entropy", limit=2.5),))
    assert [row.words.text() for row in panel.rows.rows.values()][1:] == ["layer 3 · rope", "entropy > 2.5 nats"]
    kept = panel.rows.rows[second.number]
    press(panel.rows.rows[first.number].buttons["remove"])
    assert list(panel.rows.rows) == [0, second.number]
    assert panel.rows.rows[second.number] is kept
    third = breaks.add((Condition("not the best"),))
    assert list(panel.rows.rows) == [0, second.number, third.number]
    tops = [row.y() for row in panel.rows.rows.values() if row.isVisible()]
    panel.rows.widget().layout().activate()
    assert tops == sorted(tops)


def test_on_and_off_and_ignore(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    breaks = panel.context.breaks
    number = breaks.add((Condition("stage", 3, "rope"),)).number
    row = panel.rows.rows[number]
    qtbot.waitUntil(row.isVisible)
    press(row.on)
    assert not breaks.breakpoints[1].on
    assert panel.caption() == "1 of 2 on"
    row.ignore.setValue(12)
    assert breaks.breakpoints[1] == Breakpoint(number, (Condition("stage", 3, "rope"),), on=False, ignore=12)


def test_all_off_and_on_and_delete_all(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    breaks = panel.context.breaks
    breaks.add((Condition("stage", 3, "rope"),))
    assert panel.all.text() == "All off"
    press(panel.all)
    assert not breaks.any_on
    assert panel.all.text() == "All on"
    press(panel.all)
    assert all(each.on for each in breaks.breakpoints)
    press(panel.clear)
    assert breaks.breakpoints == (NOT_FINITE,)
    assert not panel.clear.isEnabled()


def test_what_the_model_lacks_is_said(qtbot: Any) -> None:
    made, panel = shown(qtbot)
    panel.context.breaks.add((Condition("norm", 40, limit=100),))
    row = panel.rows.rows[1]
    assert row.words.text() == "norm > 100 after layer 40 (not in this model)"
    assert not row.words.isEnabled()
    made.run.absorb(model(60))
    panel.show_run()
    assert row.words.text() == "norm > 100 after layer 40"


def test_a_hit_is_marked_until_the_pass_goes_on(qtbot: Any) -> None:
    _, panel = shown(qtbot, size=(400, 240))
    breaks = panel.context.breaks
    for layer in range(12):
        breaks.add((Condition("stage", layer % 6, "rope"),))
    row = panel.rows.rows[12]
    qtbot.waitUntil(lambda: row.isVisible() and row.visibleRegion().isEmpty())
    breaks.absorb(HitFrame(12, 3, True, PASS, "rope of layer 5 is computed", (7, 5, None)))
    assert row.hit.isVisible()
    assert "rope of layer 5 is computed" in row.hit.text()
    assert row.hits.text() == "3 hits"
    assert panel.caption() == "Breakpoint 12 (hit 3): rope of layer 5 is computed"
    qtbot.waitUntil(lambda: not row.visibleRegion().isEmpty())  # scrolled into sight
    marked = row.grab().toImage().pixelColor(0, row.height() // 2).name()
    assert marked == DARK.decode
    breaks.leave()
    assert not row.hit.isVisible()
    assert row.grab().toImage().pixelColor(0, row.height() // 2).name() != DARK.decode
    assert panel.values()["hits"].tolist() == [0] * 12 + [3]
    assert panel.values()["texts"][-1] == "layer 5 · rope"


def test_markup_in_a_token_is_shown_as_it_is(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    panel.context.breaks.add((Condition("token", text="<b>x</b>"),))
    row = panel.rows.rows[1]
    assert row.words.textFormat() == Qt.TextFormat.PlainText
    assert "<b>x</b>" in row.words.text()


# -- the form ----------------------------------------------------------------------------------------------------------


def fill_in(form: ConditionForm, test: Condition) -> None:
    """As a user does."""
    choose(form, test.kind)
    if form.layer.isVisible():
        form.layer.setValue(ANY if test.layer is None else test.layer)
    for box, value in ((form.head, test.head), (form.expert, test.expert), (form.limit, test.limit)):
        if box.isVisible():
            box.setValue(value)
    if form.stage.isVisible():
        form.stage.setCurrentIndex(form.stage.findData(test.stage))
    if form.word.isVisible():
        given = {POSITION: test.key, TOKEN: test.token, TEXT: test.text or None}
        way, value = next((way, value) for way, value in given.items() if value is not None)
        form.target.setCurrentIndex(form.target.findData(way))
        form.word.clear()
        QTest.keyClicks(form.word, str(value))


EVERY = [
    Condition("stage", 3, "rope"),
    Condition("stage", 2, ""),
    Condition("stage", None, "final norm"),
    Condition("stage", None, "mix"),
    Condition("token", text=" Paris"),
    Condition("token", token=42),
    Condition("not the best"),
    Condition("entropy", limit=1.25),
    Condition("lens", 4),
    Condition("lens"),
    Condition("attention", 5, head=8, key=2, limit=0.75),
    Condition("attention", 5, head=8, token=7, limit=0.75),
    Condition("attention", 5, head=8, text="the", limit=0.75),
    Condition("expert", 3, expert=7),
    Condition("expert", expert=2),
    Condition("router entropy", limit=1.5),
    Condition("norm", 0, limit=250),
    Condition("not finite"),
]


@pytest.mark.parametrize("test", EVERY, ids=str)
def test_every_condition_can_be_made_and_changed(qtbot: Any, test: Condition) -> None:
    run = generated(3)
    run.model = with_experts()
    _, panel = shown(qtbot, run)
    press(panel.add)
    fill_in(panel.form.first, test)
    press(panel.form.accept)
    made = panel.context.breaks.breakpoints[-1]
    assert made.tests == (test,)
    assert panel.pages.currentIndex() == LIST
    press(panel.rows.rows[made.number].buttons["change"])
    assert panel.form.first.test() == test
    press(panel.form.accept)
    assert panel.context.breaks.breakpoints[-1] == made


def test_a_limit_that_is_not_changed_stays_exactly_as_it_is(qtbot: Any) -> None:
    """The box shows three decimals."""
    _, panel = shown(qtbot, generated(3))
    breaks = panel.context.breaks
    made = breaks.add((Condition("entropy", limit=0.00042),))
    press(panel.rows.rows[made.number].buttons["change"])
    panel.form.ignore.setValue(2)
    press(panel.form.accept)
    assert breaks.breakpoints[-1] == replace(made, ignore=2)
    press(panel.rows.rows[made.number].buttons["change"])
    panel.form.first.limit.setValue(0.25)
    press(panel.form.accept)
    assert breaks.breakpoints[-1].tests == (Condition("entropy", limit=0.25),)


def test_two_conditions_and_hits_to_ignore(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    press(panel.add)
    fill_in(panel.form.first, Condition("entropy", limit=2))
    assert not panel.form.second.isVisible()
    press(panel.form.both)
    assert panel.form.second.isVisible()
    fill_in(panel.form.second, Condition("not the best"))
    panel.form.ignore.setValue(4)
    press(panel.form.accept)
    made = panel.context.breaks.breakpoints[-1]
    assert made == Breakpoint(1, (Condition("entropy", limit=2), Condition("not the best")), ignore=4)
    press(panel.rows.rows[1].buttons["change"])
    assert panel.form.both.isChecked()
    assert panel.form.accept.text() == "Change breakpoint 1"
    press(panel.form.both)
    press(panel.form.accept)
    assert panel.context.breaks.breakpoints[-1] == Breakpoint(1, (Condition("entropy", limit=2),), ignore=4)


def test_the_form_begins_where_one_looks(qtbot: Any) -> None:
    run = generated(3)
    run.model = with_experts()
    made, panel = shown(qtbot, run)
    made.pin(layer=4, head=5, position=2, expert=6)
    press(panel.add)
    form = panel.form.first
    choose(form, "attention")
    assert form.test() == Condition("attention", 4, head=5, key=2, limit=0.5)
    choose(form, "expert")
    assert form.test() == Condition("expert", 4, expert=6)
    press(panel.form.cancel)
    made.pin(position=None)
    press(panel.add)
    choose(form, "stage")
    choose(form, "attention")
    assert form.test().key == run.n_visible - 1, "the newest position, where none is pinned"


def test_somebody_else_asks_for_the_form(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    panel.context.breaks.asked.emit(Condition("attention", 3, head=2, key=1, limit=0.25))
    assert panel.pages.currentIndex() == FORM
    assert panel.form.first.test() == Condition("attention", 3, head=2, key=1, limit=0.25)
    assert panel.form.number is None


@pytest.mark.parametrize(("way", "typed"), [(TEXT, ""), (TOKEN, ""), (TOKEN, "-3"), (TOKEN, "²"), (TOKEN, "9" * 100)])
def test_what_cannot_be_is_said_and_nothing_is_made(qtbot: Any, way: str, typed: str) -> None:
    _, panel = shown(qtbot)
    press(panel.add)
    choose(panel.form.first, "token")
    panel.form.first.target.setCurrentIndex(panel.form.first.target.findData(way))
    panel.form.first.word.setText(typed)
    press(panel.form.accept)
    assert panel.form.complaint.isVisible()
    assert panel.form.complaint.text().endswith(".")
    assert panel.context.breaks.breakpoints == (NOT_FINITE,)
    panel.form.first.word.setText("1")
    assert not panel.form.complaint.isVisible()
    QTest.keyClick(panel.form.first.word, Qt.Key.Key_Return)
    assert len(panel.context.breaks.breakpoints) == 2


def test_experts_are_offered_where_there_are_some(qtbot: Any) -> None:
    made, panel = shown(qtbot)
    press(panel.add)
    assert all(panel.form.first.kind.findData(kind) < 0 for kind in EXPERTS)
    made.run.absorb(with_experts())
    panel.show_run()
    press(panel.add)
    assert all(panel.form.first.kind.findData(kind) >= 0 for kind in EXPERTS)


def test_one_of_another_model_can_still_be_changed(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    breaks = panel.context.breaks
    for test in (Condition("expert", 90, expert=200), Condition("stage", 90, "router"), Condition("norm", 90, limit=1)):
        number = breaks.add((test,)).number
        press(panel.rows.rows[number].buttons["change"])
        assert panel.form.first.test() == test
        press(panel.form.cancel)


def test_esc_leaves_the_form(qtbot: Any) -> None:
    _, panel = shown(qtbot)
    assert not panel.undo()
    press(panel.add)
    assert panel.undo()
    assert panel.pages.currentIndex() == LIST
    assert not panel.undo()


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("size", [(400, 600), (270, 220)])
def test_every_control_has_a_name_and_fits(qtbot: Any, theme: Any, size: tuple[int, int]) -> None:
    _, panel = shown(qtbot, theme=theme, size=size)
    panel.context.breaks.add((Condition("attention", 2, head=4, text="a long text of a token", limit=0.5),))
    controls = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)
    for page in (LIST, FORM):
        if page == FORM:
            press(panel.add)
            press(panel.form.both)
            for form in (panel.form.first, panel.form.second):
                choose(form, "attention")
        seen = [widget for kind in controls for widget in panel.findChildren(kind) if widget.isVisible()]
        named = [widget for widget in seen if not isinstance(widget.parent(), QAbstractSpinBox)]
        for widget in named:
            name = widget.accessibleName() or (widget.text() if isinstance(widget, QAbstractButton) else "")
            assert name, widget
            right = widget.mapTo(panel, widget.rect().topRight()).x()
            assert right <= panel.width(), f"{name} is cut off"


# -- menus of other panels ---------------------------------------------------------------------------------------------


def asked_of(panel: Any, picture: Any, place: Any) -> Condition:
    """What the last entry of the menu there begins a breakpoint with."""
    inside, asked = QPoint(round(place.x()), round(place.y())), []
    panel.context.breaks.asked.connect(asked.append)
    menu = panel.menu(QContextMenuEvent(QContextMenuEvent.Reason.Mouse, inside, picture.mapToGlobal(inside)))
    menu.actions()[-1].trigger()
    menu.deleteLater()
    (test,) = asked
    return test


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Run]:
    return KindsOnDisk(tmp_path_factory.mktemp("kinds"))["mixtral-default"].run(2)


def test_every_picture_begins_a_breakpoint_with_what_is_under_the_mouse(qtbot: Any, mixture: tuple[Any, Run]) -> None:
    session, run = mixture
    panels = {}
    for kind in (AttentionPanel, ResidualPanel, ExpertsPanel, SamplingPanel):
        made = show(qtbot, kind, run)
        made.pin(layer=1, head=1)
        made.answer(session)
        panels[kind] = made.panel
    heads, large = panels[AttentionPanel]._heads, panels[AttentionPanel]._large
    stream, experts = panels[ResidualPanel]._map, panels[ExpertsPanel]._map
    for picture in (heads, large, stream, experts):
        picture.settle()
    attention = panels[AttentionPanel]
    assert asked_of(attention, heads, heads.tile(0).center()) == Condition("attention", 1, head=0, key=0, limit=0.5)
    panels[AttentionPanel].context.breaks = Breaks()
    cell = asked_of(attention, large, large.box(3, 2).center())
    assert cell == Condition("attention", 1, head=1, key=2, limit=0.5)
    norms = panels[ResidualPanel].values()["norms"]
    found = asked_of(panels[ResidualPanel], stream, stream.box(2, 1).center())
    assert (found.kind, found.layer) == ("norm", 1)
    assert found.limit == pytest.approx(norms[2, 1], rel=0.005)
    found = asked_of(panels[ExpertsPanel], experts, experts.box(1, 2).center())
    assert found == Condition("expert", 1, expert=1)
    table = panels[SamplingPanel]._table
    found = asked_of(panels[SamplingPanel], table, QPoint(40, round(table._high() * 2.5)))
    assert found == Condition("token", token=table.rows[1].id)


def test_the_tokenizer_is_asked_for_a_token(qtbot: Any) -> None:
    shown = show(qtbot, BreakpointsPanel, generated(3))
    panel, form = shown.panel, shown.panel.form
    panel.show_run()
    panel.begin()
    form.first.kind.setCurrentIndex(form.first.kind.findData("token"))
    form.first.target.setCurrentIndex(form.first.target.findData(TOKEN))
    form.first.word.setText("␣zebra")
    form.accept.click()
    assert shown.asked[-1] == ("breakpoints.token", AskToken(" zebra"))
    assert "asked" in form.complaint.text()
    panel.show_answer("breakpoints.token", TokenFound(" zebra", None, "It is 2 tokens."))
    assert form.complaint.text() == "It is 2 tokens."
    form.accept.click()
    form.first.word.setText("zebra")
    panel.show_answer("breakpoints.token", TokenFound(" zebra", 11))
    assert panel.pages.currentIndex() == FORM, "another text stands there by now"
    form.accept.click()
    panel.show_answer("breakpoints.token", TokenFound("zebra", 12))
    assert panel.pages.currentIndex() == LIST
    assert panel.context.breaks.breakpoints[-1].tests == (Condition("token", token=12),)


# -- speed -------------------------------------------------------------------------------------------------------------


def test_the_slider_says_and_chooses(qtbot: Any) -> None:
    control, chosen = SpeedControl(), []
    qtbot.addWidget(control)
    control.restyle(DARK)
    control.chosen.connect(chosen.append)
    control.show()
    assert (control.button.text(), control.short.text()) == ("fastest", "fastest")
    slider = control.slider
    assert slider.accessibleName() == "Speed of the pass"
    QTest.keyClick(slider, Qt.Key.Key_Left)
    assert chosen == [FULL - 1]
    control.show_speed(3)
    assert (control.button.text(), control.words.text()) == ("5/s", "5 stages/s")
    assert slider.accessibleDescription() == "5 stages/s"
    assert chosen == [FULL - 1], "what is shown is not chosen"


def test_the_one_slider_lies_in_the_bar_or_in_the_menu(qtbot: Any) -> None:
    control, chosen = SpeedControl(), []
    qtbot.addWidget(control)
    control.restyle(DARK)
    control.show()
    control.chosen.connect(chosen.append)
    assert control.button.isVisible()
    assert not control.isAncestorOf(control.slider) or not control.slider.isVisible()
    control.set_inline(True)
    assert control.slider.isVisible()
    assert control.short.isVisible()
    assert not control.button.isVisible()
    QTest.keyClick(control.slider, Qt.Key.Key_Left)
    assert chosen == [FULL - 1]
    control.set_inline(False)
    assert not control.slider.isVisible()
    assert control.slider.value() == FULL - 1
    assert control.slider.parentWidget() is control.words.parentWidget()
    assert not control.slider.isHidden()


def test_the_buttons_of_the_form_stand_as_those_of_an_edit_do(qtbot: Any) -> None:
    from app.widgets.edit_form import EditForm

    _, panel = shown(qtbot, size=(500, 700))
    press(panel.add)
    edits = EditForm(DARK, int)
    qtbot.addWidget(edits)
    edits.resize(500, 700)
    edits.show()
    qtbot.waitExposed(edits)
    for form, cancel, accept in ((panel.form, panel.form.cancel, panel.form.accept), (edits, edits.leave, edits.done)):
        assert 0 <= accept.x() - cancel.geometry().right() < 20, "the one that does it comes last"
        assert form.width() - accept.geometry().right() < 20
        assert form.height() - accept.geometry().bottom() < 20
        assert accept.width() < 200
