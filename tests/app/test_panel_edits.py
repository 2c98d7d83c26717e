"""The tray on screen, the form for one edit, and the pass beside the untouched one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit

from app import edit_menus as menus
from app.panels.activations import ActivationsPanel
from app.panels.attention import AttentionPanel
from app.panels.edits import EditsPanel
from app.panels.experts import ExpertsPanel
from app.panels.residual import ResidualPanel
from app.panels.sampling import SamplingPanel
from app.theme import LIGHT
from app.token_texts import Unasked
from engine.edits import Edit
from engine.frames import RunFrame, TokenFound
from engine.questions import AskToken, AskUntouched
from engine.settings import Sampling
from tests.app.panel_runs import Shown, real_run, show

GREEDY = Sampling(greedy=True)
HEAD = Edit("zero", "attn.hook_z", layers=(1,), heads=(0,))
STREAM = Edit("scale", "hook_resid_post", layers=(0,), value=0.5)


@pytest.fixture(scope="module")
def session(tiny_model: Path) -> Any:
    import engine

    return engine.Session(engine.load(tiny_model, device="cpu"), GREEDY)


@pytest.fixture
def shown(qtbot: Any, session: Any) -> Shown:
    session.set_edits(())
    return show(qtbot, EditsPanel, real_run(session, "edits", 3), size=(340, 700))


def form_rows(panel: EditsPanel) -> set[str]:
    """The keys of the rows of the form that are seen."""
    return {key for key, field in panel.form._fields.items() if panel.form._form.isRowVisible(field)}


def choose(box: Any, data: str) -> None:
    place = box.findData(data)
    assert place >= 0, data
    box.setCurrentIndex(place)


# ---- the tray -----------------------------------------------------------------------------------------------------


def test_an_empty_tray_says_what_edits_are(shown: Shown) -> None:
    panel = shown.panel
    assert "No edits" in panel._empty.text()
    enabled = {name for name, button in panel.buttons.items() if button.isEnabled()}
    assert enabled == {"new"}
    assert (panel.badge(), panel.caption(), panel.watches()) == ("", "", {})


def test_without_a_model_nothing_can_be_edited(qtbot: Any) -> None:
    from app.run import Run

    panel = show(qtbot, EditsPanel, Run()).panel
    assert "Open a model" in panel._empty.text()
    panel.new()
    assert panel._pages.currentWidget() is not panel.form
    assert not panel.buttons["new"].isEnabled()


def test_the_form_about_a_row_is_left_when_another_one_stands_there(shown: Shown) -> None:
    panel, tray = shown.panel, shown.panel.context.tray
    for edit in (HEAD, STREAM):
        tray.add(edit)
    for change, left in ((lambda: tray.remove(0), (STREAM,)), (tray.switch_all, (replace(STREAM, on=False),))):
        panel._do(0, "change")
        assert panel._pages.currentWidget() is panel.form
        change()
        assert panel._pages.currentWidget() is not panel.form
        assert tray.edits == left
        tray.replace(0, STREAM)


def test_rows_follow_the_tray_and_change_it(qtbot: Any, shown: Shown) -> None:
    panel, tray = shown.panel, shown.panel.context.tray
    tray.add(HEAD)
    tray.add(STREAM)
    first, second = panel.rows.rows
    assert first.words.text() == "layer 1 · head 0 · z: zero"
    assert second.scope.text() == "every position · every pass from now"
    assert panel.caption() == "2 of 2 on"
    first.on.click()
    assert [edit.on for edit in tray.edits] == [False, True]
    assert panel.caption() == "1 of 2 on"
    second.strength.setValue(35)
    assert tray.edits[1].strength == pytest.approx(0.35)
    assert second.percent.text() == "35 %"
    assert panel.rows.rows[1] is second  # a slider under the mouse is not exchanged
    second.buttons["duplicate"].click()
    assert len(panel.rows.rows) == 3
    first.buttons["remove"].click()
    assert [row.words.text() for row in panel.rows.rows] == ["layer 0 · resid_post: scale by 0.5"] * 2


def test_an_edit_of_what_is_read_says_so(shown: Shown) -> None:
    shown.panel.context.tray.add(Edit("zero", "attn.hook_z", layers=(1,), positions=(2, 3)))
    row = shown.panel.rows.rows[0]
    assert row.scope.text() == "position 2 · every pass from now · read already: it takes effect when read again"
    shown.run.absorb(RunFrame(shown.run.prompt, 3, False))
    shown.panel.show_run()
    assert row.scope.text() == "position 2 · every pass from now"


def test_a_low_panel_gives_the_comparison_the_room_of_the_rows(qtbot: Any, session: Any) -> None:
    made = edited(qtbot, session, (HEAD,), size=(300, 250))
    assert made.panel.rows.isHidden()
    assert made.panel.untouched.isVisible()
    made.panel.buttons["compare"].click()
    assert made.panel.rows.isVisible()


def test_buttons_undo_switch_and_clear(shown: Shown) -> None:
    panel, tray = shown.panel, shown.panel.context.tray
    tray.add(HEAD)
    panel.buttons["all"].click()
    assert (tray.on, panel.buttons["all"].text()) == (False, "On again")
    panel.buttons["all"].click()
    assert (tray.on, panel.buttons["all"].text()) == (True, "All off")
    panel.buttons["clear"].click()
    assert tray.edits == ()
    panel.buttons["undo"].click()
    assert tray.edits == (HEAD,)
    panel.buttons["redo"].click()
    assert tray.edits == ()


def test_what_is_chosen_or_cut_has_no_strength(shown: Shown) -> None:
    shown.panel.context.tray.add(Edit("ban", "hook_logits_final", entries=(3,)))
    row = shown.panel.rows.rows[0]
    assert row.strength.isHidden()
    assert row.percent.isHidden()


def test_names_are_shown_as_they_are(shown: Shown) -> None:
    """A token may look like markup."""
    name = "<b>ban</b> \u202e"
    shown.panel.context.tray.add(Edit("ban", "hook_logits_final", entries=(3,), name=name))
    row = shown.panel.rows.rows[0]
    assert row.words.text() == name
    assert row.words.textFormat() == Qt.TextFormat.PlainText
    assert "token 3: banned" in row.scope.text()


def test_every_control_has_a_name(shown: Shown) -> None:
    shown.panel.context.tray.add(HEAD)
    row = shown.panel.rows.rows[0]
    controls = [*shown.panel.buttons.values(), *row.buttons.values(), row.on, row.strength]
    controls += list(shown.panel.form._fields.values())
    assert all(control.accessibleName() for control in controls)


# ---- the form -----------------------------------------------------------------------------------------------------


def test_the_form_begins_with_what_is_pinned(shown: Shown) -> None:
    shown.pin(layer=2, head=3, position=4)
    shown.panel.buttons["new"].click()
    form = shown.panel.form
    assert shown.panel._pages.currentWidget() is form
    assert form.edit() == Edit("zero", "attn.hook_z", layers=(2,), heads=(3,), positions=(4, 5))
    form.done.click()
    assert shown.panel.context.tray.edits == (form.edit(),)
    assert shown.panel._pages.currentWidget() is not form


def test_without_a_pin_every_position_is_meant(shown: Shown) -> None:
    shown.panel.new()
    assert shown.panel.form.edit().positions is None


@pytest.mark.parametrize(
    ("layer", "point", "made"),
    [
        (1, "hook_resid_mid", Edit("zero", "hook_resid_mid", layers=(1,))),
        (1, "add 2", Edit("zero", "hook_resid_post", layers=(1,))),
        (1, "activation", Edit("zero", "mlp.hook_post", layers=(1,))),
        (1, "rope", Edit("zero", "attn.hook_rot_k", layers=(1,), heads=(1,))),
        (None, "hook_embed", Edit("zero", "hook_embed")),
    ],
)
def test_an_edit_can_begin_at_any_point_or_stage(shown: Shown, layer: int | None, point: str, made: Edit) -> None:
    shown.pin(head=3)
    shown.panel.ask(layer, point)
    assert shown.panel.form.edit() == made


@pytest.mark.parametrize("stage", ["logits", "sampling"])
def test_behind_the_layers_logits_are_edited(shown: Shown, stage: str) -> None:
    shown.panel.ask(None, stage)
    form = shown.panel.form
    form.entries.setText("17")
    assert form.edit() == Edit("ban", "hook_logits_final", entries=(17,))


def test_only_fields_that_mean_something_are_shown(shown: Shown) -> None:
    panel, form = shown.panel, shown.panel.form
    panel.new()
    always = {"target", "kind", "positions", "only_pass", "name", "layers", "heads"}
    assert form_rows(panel) == always
    choose(form.kind, "add")
    assert form_rows(panel) == always | {"value", "first", "second"}
    choose(form.kind, "clamp")
    assert form_rows(panel) == always | {"low", "high"}
    choose(form.target, "stream")
    choose(form.kind, "add")
    stream = (always - {"heads"}) | {"point", "entries", "value", "direction"}
    assert form_rows(panel) == stream | {"first", "second"}
    choose(form.direction, "token")
    assert form_rows(panel) == stream | {"token"}
    choose(form.target, "edge")
    assert form_rows(panel) == always | {"keys", "renormalise"}
    choose(form.target, "tokens")
    assert form_rows(panel) == (always - {"layers", "heads"}) | {"entries"}


def test_every_kind_can_be_typed(shown: Shown) -> None:
    panel, form = shown.panel, shown.panel.form
    panel.ask(1, "hook_resid_post")
    form.layers.setText("0-2")
    form.positions.setText("3-")
    form.only_pass.setText("2")
    form.name.setText("  mine ")
    common = {"layers": (0, 1, 2), "positions": (3, None), "step": 2, "name": "mine"}
    fields: tuple[tuple[str, dict[QLineEdit, str], dict], ...] = (
        ("zero", {}, {}),
        ("scale", {form.value: "−0.5"}, {"value": -0.5}),
        ("mean", {}, {}),
        ("copy", {form.source: "1"}, {"sources": (1,)}),
        ("clamp", {form.low: "-1", form.high: ""}, {"low": -1.0}),
        ("set", {form.value: "7"}, {"value": 7.0}),
        ("add", {form.value: "2", form.first: "4", form.second: "1"}, {"value": 2.0, "sources": (4, 1)}),
    )
    for kind, texts, values in fields:
        choose(form.kind, kind)
        for field, text in texts.items():
            field.setText(text)
        assert form.edit() == Edit(kind, "hook_resid_post", **common, **values)  # type: ignore[arg-type]
    choose(form.direction, "token")
    form.token.setText("12")
    assert form.edit() == Edit("add", "hook_resid_post", **common, value=2.0, token=12)  # type: ignore[arg-type]


def test_an_edge_with_and_without_the_rest_of_its_row(shown: Shown) -> None:
    panel, form = shown.panel, shown.panel.form
    panel.new()
    choose(form.target, "edge")
    form.positions.setText("4")
    form.keys.setText("0-1")
    edge = {"layers": (0,), "heads": (0,), "positions": (4, 5), "keys": (0, 1)}
    assert form.edit() == Edit("knock out", "attn.hook_attn_scores", **edge)
    form.renormalise.setChecked(False)
    assert form.edit() == Edit("knock out", "attn.hook_pattern", renormalise=False, **edge)


@pytest.mark.parametrize(
    ("target", "kind", "field", "text", "sentence"),
    [
        ("heads", "zero", "layers", "x", "“x” cannot be read as layers"),
        ("heads", "zero", "layers", "7", "This model has no layer 7; its layers are 0 to 2."),
        ("heads", "scale", "value", "much", "“much” cannot be read as factor"),
        ("heads", "copy", "source", "", "write the number of a position"),
        ("heads", "clamp", "low", "", "Neither end of the clamp"),
        ("edge", "knock out", "keys", "", "Which keys are knocked out"),
        ("tokens", "ban", "entries", "", "Which tokens are meant"),
        ("tokens", "ban", "entries", "“zebra”", "tokenizer is asked for “zebra”"),
        ("tokens", "ban", "entries", "“”", "Which token is meant"),
        ("tokens", "ban", "entries", "1000000", "no token 1000000"),
        ("heads", "zero", "positions", "9-2", "“9-2” is no range of positions"),
    ],
)
def test_what_makes_no_edit_is_said_and_stays(
    shown: Shown, target: str, kind: str, field: str, text: str, sentence: str
) -> None:
    panel, form = shown.panel, shown.panel.form
    panel.new()
    choose(form.target, target)
    choose(form.kind, kind)
    getattr(form, field).setText(text)
    form.done.click()
    assert sentence in form.wrong.text()
    assert form.wrong.isVisible()
    assert panel._pages.currentWidget() is form
    assert panel.context.tray.edits == ()


def test_the_tokenizer_is_asked_for_a_token_and_the_form_goes_on(shown: Shown) -> None:
    panel, form = shown.panel, shown.panel.form
    panel.ask(None, "logits")
    form.entries.setText("␣zebra, 3, “quagga”")
    form.done.click()
    assert shown.asked[-1] == ("edits.token", AskToken(" zebra"))
    assert panel._pages.currentWidget() is form
    panel.show_answer("edits.token", TokenFound("another", 5))
    panel.show_answer("edits.token", TokenFound(" zebra", 11))
    assert shown.asked[-1] == ("edits.token", AskToken("quagga"))
    panel.show_answer("edits.token", TokenFound("quagga", None, "quagga is 2 tokens."))
    assert form.wrong.text() == "quagga is 2 tokens."
    assert panel.context.tray.edits == ()
    form.entries.setText("␣zebra, 3")
    form.done.click()
    assert panel.context.tray.edits[0].entries == (11, 3), "known by now"


def test_an_answer_does_not_finish_what_was_typed_since_or_left(shown: Shown) -> None:
    panel, form = shown.panel, shown.panel.form
    panel.ask(None, "logits")
    form.entries.setText("zebra")
    form.done.click()
    QTest.keyClicks(form.entries, "s")
    assert not form.wrong.isVisible()
    panel.show_answer("edits.token", TokenFound("zebra", 11))
    assert panel.context.tray.edits == ()
    form.done.click()
    assert panel.undo()
    panel.show_answer("edits.token", TokenFound("zebras", 12))
    assert panel.context.tray.edits == ()
    panel.ask(None, "logits")
    panel.show_answer("edits.token", TokenFound("zebras", 12))
    assert panel.context.tray.edits == ()


def test_what_is_known_of_one_model_is_not_of_another(shown: Shown) -> None:
    tokens = shown.panel.tokens
    with pytest.raises(Unasked):
        tokens.id("zebra")
    tokens.take(TokenFound("zebra", 11))
    assert tokens.id("zebra") == 11
    shown.run.model = replace(shown.run.model)
    with pytest.raises(Unasked):
        tokens.id("zebra")


def test_tokens_are_found_by_their_text(shown: Shown) -> None:
    panel, form = shown.panel, shown.panel.form
    piece = shown.run.steps[0].candidates[5]
    panel.ask(None, "logits")
    form.entries.setText(f"“{piece.text}”, 3")
    made = form.edit()
    assert made.entries == (piece.id, 3)
    assert made.name == f"ban “{piece.text}”, 3"


def test_an_edit_can_be_changed(shown: Shown) -> None:
    panel, tray = shown.panel, shown.panel.context.tray
    tray.add(Edit("scale", "attn.hook_z", layers=(1,), heads=(0, 1), value=2.0, strength=0.5, on=False))
    panel.rows.rows[0].buttons["change"].click()
    assert panel.form.done.text() == "Change"
    assert panel.form.edit() == tray.edits[0]
    panel.form.value.setText("4")
    panel.form.done.click()
    assert tray.edits == (Edit("scale", "attn.hook_z", layers=(1,), heads=(0, 1), value=4.0, strength=0.5, on=False),)


def test_escape_and_cancel_leave_the_form(shown: Shown) -> None:
    panel = shown.panel
    panel.new()
    assert panel.undo()
    assert not panel.undo()
    panel.new()
    panel.form.leave.click()
    assert panel._pages.currentWidget() is not panel.form
    assert panel.context.tray.edits == ()


def test_what_is_changed_may_be_gone_by_then(shown: Shown) -> None:
    panel, tray = shown.panel, shown.panel.context.tray
    tray.add(HEAD)
    panel.rows.rows[0].buttons["change"].click()
    tray.clear()
    assert panel._pages.currentWidget() is not panel.form


# ---- the untouched pass -------------------------------------------------------------------------------------------


def test_the_untouched_pass_is_asked_for_only_when_wanted(qtbot: Any, shown: Shown) -> None:
    panel = shown.panel
    panel.buttons["compare"].setChecked(True)
    assert panel.watches() == {}  # there is nothing to compare
    panel.context.tray.add(HEAD)
    assert panel.watches() == {"edits.untouched": AskUntouched(None, 12, panel.untouched.map.fits())}
    shown.pin(position=2)
    assert panel.watches()["edits.untouched"].position == 2
    panel.buttons["compare"].setChecked(False)
    assert panel.watches() == {}
    assert panel.untouched.isHidden()


def edited(qtbot: Any, session: Any, edits: tuple[Edit, ...], size: tuple[int, int] = (340, 700)) -> Shown:
    """A run with these edits, compared."""
    session.set_edits(edits)
    made = show(qtbot, EditsPanel, real_run(session, "edits", 3), size=size)
    for edit in edits:
        made.panel.context.tray.add(edit)
    made.panel.buttons["compare"].setChecked(True)
    made.answer(session)
    return made


def test_both_sides_are_those_of_two_runs(qtbot: Any, session: Any, tiny_model: Path) -> None:
    """Probabilities and changes against two passes of transformers, one of them with a hook."""
    import torch
    from transformers import AutoModelForCausalLM

    made = edited(qtbot, session, (Edit("scale", "hook_resid_post", layers=(1,), value=3.0),))
    made.pin(position=4)  # the prompt's pass
    made.answer(session)
    oracle = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.tensor([[piece.id for piece in made.run.prompt]])
    entering: list[Any] = []
    oracle.model.layers[2].register_forward_pre_hook(lambda module, args: entering.append(args[0][0]))
    with torch.no_grad():
        before = oracle(ids)
        detach = oracle.model.layers[1].register_forward_hook(
            lambda module, args, out: out * 3 if isinstance(out, torch.Tensor) else (out[0] * 3, *out[1:])
        )
        after = oracle(ids)
        detach.remove()
    values = made.panel.values()
    assert values["texts"].tolist() == ["layer 1 · resid_post: scale by 3 · every position · every pass from now"]
    assert len(values["tokens"]) == len(values["ids"])
    assert made.panel.axes()["parting"][1].entry(0).startswith("0 ")
    edited_p, plain_p = (found.logits[0, -1].double().softmax(0).numpy() for found in (after, before))
    np.testing.assert_allclose(values["probabilities"][0], edited_p[values["ids"]], atol=1e-5)
    np.testing.assert_allclose(values["probabilities"][1], plain_p[values["ids"]], atol=1e-5)
    change = (after.logits[0, -1] - before.logits[0, -1]).numpy()
    np.testing.assert_allclose(values["change"], change, atol=1e-3)
    apart = (entering[1] - entering[0]).norm(dim=-1).numpy()
    np.testing.assert_allclose(values["parting"][2], apart, rtol=1e-4)
    assert not values["parting"][:2].any()
    assert "apart from boundary 2 on" in made.panel.caption()
    rows = {row.id: row for row in made.panel.untouched.table.rows if row.before is not None}
    chosen = made.run.steps[0].piece.id
    assert rows[chosen].chosen
    assert rows[chosen].after == pytest.approx(edited_p[chosen], abs=1e-5)


def test_a_decode_pass_is_a_line_over_depth(qtbot: Any, session: Any) -> None:
    made = edited(qtbot, session, (Edit("scale", "hook_resid_post", layers=(1,), value=3.0),))
    view = made.panel.untouched
    assert view._picture.currentWidget() is view.chart
    (line,) = view.chart.chart.lines
    np.testing.assert_array_equal(line.y, view.shown.parting[:, 0])
    view.chart.place_picked.emit(2)
    assert made.cursor.pinned.layer == 2
    assert "entering layer 2" in made.said[-1]


def test_a_prompt_is_a_map_of_layers_and_positions(qtbot: Any, session: Any) -> None:
    made = edited(qtbot, session, (Edit("zero", "hook_resid_mid", layers=(0,), positions=(2, 3)),), size=(900, 700))
    made.pin(position=0)
    made.answer(session)
    view = made.panel.untouched
    assert view._picture.currentWidget() is view.map
    assert view.map.cells.values.shape == (session.loaded.model.config.n_layers + 1, 5)
    assert not view.map.cells.values[:, :2].any()  # before the position nothing changes
    assert view.map.cells.values[1, 2]
    assert not view.map.cells.values[1, 3:].any()  # others see it from the next layer on
    assert view.map.cells.values[2:, 2:].all()
    view.map.pick(1, 3)
    assert (made.cursor.pinned.layer, made.cursor.pinned.position) == (1, 3)
    assert "position 3" in made.said[-1]


def test_banned_tokens_fall_without_end(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    banned = next(iter(real_run(session, "edits", 1).steps)).piece.id
    made = edited(qtbot, session, (Edit("ban", "hook_logits_final", entries=(banned,)),))
    made.pin(position=4)
    made.answer(session)
    row = next(row for row in made.panel.untouched.table.rows if row.id == banned)
    assert (row.after, row.changed) == (0.0, -np.inf)
    assert row.before > 0
    assert "untouched." in made.panel.untouched.sentence.text()
    assert "−∞" in made.panel.untouched.table.describe(made.panel.untouched.table.rows.index(row))


def test_an_unedited_pass_says_so(qtbot: Any, session: Any) -> None:
    made = edited(qtbot, session, (Edit("zero", "attn.hook_z", layers=(1,), step=40),))
    assert "was not edited" in made.panel.untouched.sentence.text()
    assert "do not part" in made.panel.caption()


@pytest.mark.parametrize("size", [(280, 260), (340, 700), (1200, 700)])
def test_pictures_in_every_size_and_theme(qtbot: Any, session: Any, size: tuple[int, int]) -> None:
    made = edited(qtbot, session, (STREAM, HEAD), size=size)
    assert not made.panel.picture().isNull()
    made.panel.context.theme = LIGHT
    made.panel.restyle()
    assert not made.panel.picture().isNull()
    assert "captured" in made.panel.badge()


def test_another_run_has_no_comparison_yet(qtbot: Any, session: Any) -> None:
    made = edited(qtbot, session, (HEAD,))
    assert made.panel.untouched.shown is not None
    made.run.absorb(RunFrame((), 3, False))
    made.panel.show_run()
    assert made.panel.untouched.shown is None


# ---- menus of other panels ----------------------------------------------------------------------------------------


def asked_at(picture: Any, place: Any) -> QContextMenuEvent:
    inside = QPoint(round(place.x()), round(place.y()))
    return QContextMenuEvent(QContextMenuEvent.Reason.Mouse, inside, picture.mapToGlobal(inside))


def take(menu: Any, index: int) -> None:
    assert menu is not None
    menu.actions()[index].trigger()
    menu.deleteLater()


def test_a_head_is_zeroed_from_its_map(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, AttentionPanel, real_run(session, "heads", 2))
    made.pin(layer=1)
    made.answer(session)
    heads = made.panel._heads
    heads.settle()
    take(made.panel.menu(asked_at(heads, heads.tile(2).center())), 0)
    assert made.panel.context.tray.edits == (Edit("zero", "attn.hook_z", layers=(1,), heads=(2,)),)


def test_an_edge_is_knocked_out_from_its_cell(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, AttentionPanel, real_run(session, "edge", 2))
    made.pin(layer=1, head=3)
    made.answer(session)
    large, asked = made.panel._large, []
    large.settle()
    made.panel.context.tray.asked.connect(asked.append)
    event = asked_at(large, large.box(3, 1).center())
    where = {"layers": (1,), "heads": (3,), "keys": (1,)}
    edge = Edit("knock out", "attn.hook_attn_scores", positions=(3, 4), **where)
    for index in range(3):
        take(made.panel.menu(event), index)
    assert made.panel.context.tray.edits == (
        edge,
        Edit("knock out", "attn.hook_pattern", positions=(3, 4), renormalise=False, **where),
        Edit("knock out", "attn.hook_attn_scores", **where),
    )
    take(made.panel.menu(event), 3)
    assert asked == [edge]


def test_the_stream_is_edited_from_its_map(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, ResidualPanel, real_run(session, "stream", 2))
    made.answer(session)
    picture, last = made.panel._map, session.loaded.model.config.n_layers
    picture.settle()
    take(made.panel.menu(asked_at(picture, picture.box(1, 2).center())), 0)
    take(made.panel.menu(asked_at(picture, picture.box(last, 2).center())), 0)
    assert made.panel.context.tray.edits == (
        Edit("zero", "hook_resid_pre", layers=(1,), positions=(2, 3)),
        Edit("zero", "hook_resid_post", layers=(last - 1,), positions=(2, 3)),
    )


def test_a_token_is_banned_from_the_candidates(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, SamplingPanel, real_run(session, "ban", 1))
    table = made.panel._table
    event = asked_at(table, QPoint(40, round(table._high() * 2.5)))
    banned = table.rows[1]
    menu = made.panel.menu(event)
    texts = [action.text() for action in menu.actions()]
    take(menu, texts.index(f"Ban “{banned.text}”"))
    (edit,) = made.panel.context.tray.edits
    assert (edit.kind, edit.point, edit.entries) == ("ban", "hook_logits_final", (banned.id,))


def test_a_point_is_edited_from_the_activations(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, ActivationsPanel, real_run(session, "point", 2))
    made.pin(layer=1, point="mlp.hook_post")
    made.answer(session)
    asked: list[tuple[str, int, str]] = []
    made.panel.stage_asked.connect(lambda *what: asked.append(what))
    take(made.panel.menu(), 0)
    assert asked == [("edit", 1, "mlp.hook_post")]
    made.pin(point="kv.hook_append")
    assert made.panel.menu() is None


def test_beside_a_picture_there_is_nothing_to_edit(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, ResidualPanel, real_run(session, "beside", 2))
    made.answer(session)
    assert made.panel.menu(asked_at(made.panel._map, QPoint(1, 1))) is None


def test_an_expert_is_forbidden_from_its_row(qtbot: Any, tmp_path: Path) -> None:
    from tests.app.kinds import KindsOnDisk

    session, run = KindsOnDisk(tmp_path)["mixtral-default"].run(2)
    made = show(qtbot, ExpertsPanel, run)
    made.answer(session)
    picture = made.panel._map
    picture.settle()
    take(made.panel.menu(asked_at(picture, picture.box(1, 2).center())), 0)
    (edit,) = made.panel.context.tray.edits
    assert edit == Edit("forbid", "mlp.hook_router_choice", layers=(0,), entries=(1,))
    session.set_edits((edit,))


def test_the_menu_key_asks_about_what_is_picked(qtbot: Any, session: Any) -> None:
    session.set_edits(())
    made = show(qtbot, ResidualPanel, real_run(session, "keys", 2))
    made.answer(session)
    picture = made.panel._map
    picture.pick(2, 1)
    picture.setFocus()
    qtbot.waitUntil(picture.hasFocus)
    event = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, QPoint(0, 0), picture.mapToGlobal(QPoint(0, 0)))
    take(made.panel.menu(event), 0)
    assert made.panel.context.tray.edits[0].layers == (2,)


def test_choices_say_what_they_do(session: Any) -> None:
    def tr(text: str) -> str:
        return text

    every = [
        *menus.head_choices(1, 2, tr),
        *menus.edge_choices(1, 2, range(4, 8), range(0, 4), tr),
        *menus.token_choices(5, "x", tr),
        *menus.stream_choices(1, range(3, 4), "hook_resid_pre", tr),
    ]
    from engine.edit_checks import check

    check([choice.edit for choice in every], session.loaded.model.config)
    assert len({choice.text for choice in every}) >= len(every) - 2
