"""What is taken along says where it comes from, in a form that can be read back."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QScrollArea

from app.command_line import program_version
from app.export import MOST_COPIED, WRITERS, files_of, png_bytes, table_text, write_csv, write_npy, write_png, write_svg
from app.inventory_csv import csv_lines
from app.note_words import as_csv
from app.notes import Note
from app.panels import PANELS
from app.provenance import LONGEST_FACT, facts_of_panel, facts_of_window, to_lines
from app.svg import svg_bytes
from app.terminal import csv_line
from app.widgets.values_model import Along
from engine.checkpoint.entries import Entry
from engine.frames import RunFrame, StageFrame, Where
from tests.app.conftest import MakeWindow, PlainPanel, trigger, with_run
from tests.app.made_runs import ODD, context, generated, grow, prompted

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ('"quoted"', "a\nb\r\nc", " spaces ", "<b>&amp;]]>", "\x00\x07", "שלום\u202e", "x: y", "", "🙂")


@pytest.fixture
def panel(qtbot) -> PlainPanel:
    """A panel that shows figures, of a run with a pinned token."""
    shown = PlainPanel(context(generated(3)))
    shown.key = "plain"
    qtbot.addWidget(shown)
    shown.resize(120, 80)
    shown.context.cursor.pin(position=6, layer=2, head=4, expert=1, point="hook_resid_mid")
    return shown


# ---- what is known ---------------------------------------------------------------------------------------------------


def test_facts_name_model_prompt_and_the_pinned_place(panel: PlainPanel) -> None:
    facts = facts_of_panel(panel)
    assert facts["program"] == f"Fluoroscope {program_version()}"
    assert facts["made"].endswith("+00:00")
    assert (facts["panel"], facts["model"]) == ("Plain", "tiny")
    assert facts["weights"] == "GGUF Q4_1, computed in float32 on cpu"
    assert facts["prompt"] == "The capital of France is"
    assert facts["tokens"] == "5 prompt + 3 generated"
    assert [facts[name] for name in ("position", "token", "step")] == ["6", panel.context.run.label(6), "1"]
    assert (facts["read by step"], facts["sampling"]) == ("2", "seed 0")
    assert [facts[name] for name in ("layer", "head", "expert", "point")] == ["2", "4", "1", "hook_resid_mid"]
    assert facts["depth"] == panel.context.depth
    assert "pass" not in facts
    assert "branch" not in facts


def test_without_a_pin_it_is_the_newest_token(panel: PlainPanel) -> None:
    panel.context.cursor.follow()
    assert (facts_of_panel(panel)["position"], facts_of_panel(panel)["step"]) == ("7", "2")


def test_a_token_of_the_prompt_was_chosen_by_no_step(panel: PlainPanel) -> None:
    panel.context.cursor.pin(position=0)
    facts = facts_of_panel(panel)
    assert "step" not in facts
    assert facts["read by step"] == "0"


def test_what_no_pass_has_read_says_so(panel: PlainPanel) -> None:
    panel.context.cursor.pin(position=7)
    assert "read by step" not in facts_of_panel(panel)


def test_how_a_token_was_chosen_can_be_read(panel: PlainPanel) -> None:
    step, none = panel.context.run.steps[1], np.zeros(0)
    stages = (
        StageFrame("temperature", 0.8, True, 9, 0.0, none),
        StageFrame("top-k", 0, False, 9, 0.0, none),
        StageFrame("top-p", 0.95, True, 4, 0.1, none),
    )
    panel.context.run.steps[1] = replace(step, sampling=replace(step.sampling, stages=stages, greedy=False, seed=7))
    assert facts_of_panel(panel)["sampling"] == "temperature 0.8, top-p 0.95, seed 7"
    taken = replace(stages[0], name="greedy", value=1.0, active=True)
    panel.context.run.steps[1] = replace(step, sampling=replace(step.sampling, stages=(taken,), greedy=True))
    assert facts_of_panel(panel)["sampling"] == "greedy"
    assert "chat" not in facts_of_panel(panel)
    panel.context.run.absorb(RunFrame(panel.context.run.prompt, 4, True))
    assert facts_of_panel(panel)["chat"] == "in the model's template"


def test_before_a_run_there_is_the_program_only(qtbot) -> None:
    from app.run import Run

    assert set(facts_of_window(context(Run()))) == {"program", "made"}


def test_a_panel_of_files_says_nothing_of_the_run(panel: PlainPanel) -> None:
    panel.of_a_run = False
    assert {"prompt", "position"}.isdisjoint(facts_of_panel(panel))


def test_a_pass_under_way_is_told(qtbot) -> None:
    shown = context(prompted())
    shown.run.absorb(Where("paused", 0, "prefill", 0, 5, 3, "rope"))
    assert facts_of_window(shown)["pass"] == "paused in step 0, layer 3, rope"


def test_a_whole_book_is_cut(qtbot) -> None:
    facts = facts_of_window(context(prompted(["word "] * 10_000)))
    assert len(facts["prompt"]) == LONGEST_FACT
    assert facts["prompt"].endswith("…")


def from_lines(lines: Iterable[str]) -> dict[str, str]:
    """The facts that ``to_lines`` has written, with or without "# " before them. Other lines are passed over."""
    return dict(_read(lines))


def _read(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, text = line.removeprefix("# ").rstrip("\r\n").partition(": ")
        if colon:
            yield name, json.loads(text) if text.startswith('"') else text


@pytest.mark.parametrize("text", [*ODD, *HOSTILE, "\ud800 half"])
def test_lines_come_back_alike(text: str) -> None:
    sound = text.encode("utf-8", "replace").decode()
    lines = to_lines({"before": "1", "prompt": sound, "after": "2"})
    assert len("\n".join(lines).splitlines()) == 3
    assert from_lines(lines) == {"before": "1", "prompt": sound, "after": "2"}
    assert from_lines(f"# {line}\r\n" for line in lines) == from_lines(lines)


# ---- files -----------------------------------------------------------------------------------------------------------


def hostile(panel: PlainPanel) -> PlainPanel:
    """The same with a prompt of every odd kind."""
    run = prompted([*ODD, *HOSTILE])
    grow(run)
    panel.context.run = run
    panel.context.cursor.pin(position=3)
    return panel


@pytest.mark.parametrize("odd", [False, True])
def test_a_png_carries_the_facts(panel: PlainPanel, tmp_path: Path, odd: bool) -> None:
    shown = hostile(panel) if odd else panel
    write_png(shown, tmp_path / "a.png")
    image, facts = QImage(str(tmp_path / "a.png")), facts_of_panel(shown)
    found = {name: image.text(name) for name in facts}
    for name in facts.keys() - {"made"}:  # seconds may have passed
        assert found[name] == facts[name], name


@pytest.mark.parametrize("odd", [False, True])
def test_an_svg_is_sound_xml_and_describes_itself(panel: PlainPanel, tmp_path: Path, odd: bool) -> None:
    shown = hostile(panel) if odd else panel
    write_svg(shown, tmp_path / "a.svg")
    text = ElementTree.parse(tmp_path / "a.svg").getroot().findtext(f"{SVG}desc")
    assert text is not None
    assert without_time(from_lines(text.splitlines())) == without_time(facts_of_panel(shown))


@pytest.mark.parametrize("high", [40, 400])
def test_a_picture_of_a_part_says_so(panel: PlainPanel, tmp_path: Path, high: int) -> None:
    area, inner = QScrollArea(panel), QLabel("all of it")
    inner.setFixedSize(40, high)
    area.setWidget(inner)
    area.setGeometry(0, 0, 100, 70)
    panel.show()
    QApplication.processEvents()
    write_png(panel, tmp_path / "a.png")
    write_svg(panel, tmp_path / "a.svg")
    told = "a part; the rest is scrolled away" if high == 400 else ""
    assert QImage(str(tmp_path / "a.png")).text("picture") == told
    assert ("picture: " + told in (tmp_path / "a.svg").read_text("utf-8")) == bool(told)


@pytest.mark.parametrize("odd", [False, True])
def test_a_csv_begins_with_the_facts(panel: PlainPanel, tmp_path: Path, odd: bool) -> None:
    shown = hostile(panel) if odd else panel
    write_csv(shown, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text("utf-8").split("\n")
    about = [line for line in lines if line.startswith("# ")]
    assert without_time(from_lines(about)) == without_time(facts_of_panel(shown))
    rows = list(csv.reader(lines[len(about) :]))
    assert rows[0] == ["array", "index", "value"]
    assert rows[6] == ["numbers", "1 2", "5.0"]


def test_a_json_beside_an_npy_says_what_it_is(panel: PlainPanel, tmp_path: Path) -> None:
    write_npy(panel, tmp_path / "a.npy")
    about = json.loads((tmp_path / "a.npy.json").read_text("utf-8"))
    assert without_time(about["about"]) == without_time(facts_of_panel(panel))
    assert about["arrays"] == {"numbers": {"file": "a.npy", "shape": [2, 3], "type": "float32", "axes": []}}
    panel.values = lambda: {"x": np.zeros(2), "y": np.zeros((1, 3), np.int64)}  # type: ignore[method-assign]
    write_npy(panel, tmp_path / "b.npy")
    about = json.loads((tmp_path / "b.npy.json").read_text("utf-8"))["arrays"]
    for name, entry in about.items():
        array = np.load(tmp_path / entry["file"])
        assert (list(array.shape), str(array.dtype)) == (entry["shape"], entry["type"]), name


def test_axes_say_where_they_begin_and_what_an_entry_stands_for(panel: PlainPanel, tmp_path: Path) -> None:
    axes = (Along("layer", 0, 1, lambda entry: "ab"[entry]), Along("position", 8, 2, str))
    panel.axes = lambda: {"numbers": axes}  # type: ignore[method-assign]
    write_npy(panel, tmp_path / "a.npy")
    about = json.loads((tmp_path / "a.npy.json").read_text("utf-8"))["arrays"]["numbers"]["axes"]
    assert about == [
        {"name": "layer", "first": 0, "block": 1, "words": ["a", "b"]},
        {"name": "position", "first": 8, "block": 2},
    ]
    write_csv(panel, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text("utf-8").splitlines()
    assert from_lines(lines)["axes of numbers"] == "layer, position from 8 by 2"
    names = [name for name, _ in _read(lines)]
    assert "axes of other" not in names


@pytest.mark.parametrize("kind", ["csv", "npy"])
@pytest.mark.parametrize("arrays", [{}, {"x": np.zeros((0, 3))}])
def test_a_file_of_no_figures_is_refused(panel: PlainPanel, tmp_path: Path, kind: str, arrays: dict) -> None:
    panel.values = lambda: arrays  # type: ignore[method-assign]
    for attempt in (lambda: WRITERS[kind](panel, tmp_path / f"a.{kind}"), lambda: files_of(panel, kind)):
        with pytest.raises(ValueError, match="This panel shows no figures yet"):
            attempt()
    assert not list(tmp_path.iterdir())
    assert files_of(panel, "png")(tmp_path / "a.png") == [tmp_path / "a.png"]


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize("name", ["x" * 5000, "null\0byte", "no/such/folder/a"])
def test_an_odd_name_is_refused(panel: PlainPanel, tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(OSError, match=r"\w"):
        WRITERS[kind](panel, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["png", "svg", "csv", "npy"])
@pytest.mark.parametrize("several", [False, True])
def test_the_files_that_are_written_are_known_before(
    panel: PlainPanel, tmp_path: Path, kind: str, several: bool
) -> None:
    if several:
        panel.values = lambda: {"x": np.zeros(2), "y": np.zeros((1, 3))}  # type: ignore[method-assign]
    known = files_of(panel, kind)(tmp_path / f"a.{kind}")
    written = WRITERS[kind](panel, tmp_path / f"a.{kind}")
    assert sorted(known) == sorted(written) == sorted(tmp_path.iterdir())


FORMULAS = {
    **{text: f"'{text}" for text in ('=HYPERLINK("x")', "+1", "-1+1", "@SUM(A1)", "\t=1", "\n=1", "＝1")},
    "\r=1": "\\x0d=1",
    "a\r=1": "a\\x0d=1",  # where it is not quoted a new line of the table would begin
    "a=1": "a=1",
}


@pytest.mark.parametrize(("text", "kept"), FORMULAS.items())
def test_no_text_is_a_formula_in_a_spreadsheet(panel: PlainPanel, tmp_path: Path, text: str, kept: str) -> None:
    panel.values = lambda: {"names": np.array([text, "plain"]), "n": np.array([-1.5, 2])}  # type: ignore[method-assign]
    write_csv(panel, tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("# ")))
    assert rows[1][2] == kept
    assert [row[2] for row in rows[2:]] == ["plain", "-1.5", "2.0"], "figures stay figures"
    copied = list(csv.reader(io.StringIO(table_text(panel.values())), dialect="excel-tab"))
    assert copied[1] == ["0", kept, "-1.5"]
    assert next(csv.reader(io.StringIO(csv_line((text, -1)), newline=""))) == [kept, "-1"]
    entry = Entry(text, "", "", None, None, (2,), (), "F32", 8, 2, "a.safetensors", "unknown")
    assert not csv_lines([entry])[1].lstrip('"').startswith(("=", "+", "-", "@", "＝"))
    assert kept in next(csv.reader(io.StringIO(as_csv([Note(1, text)], {}).split("\n", 1)[1])))


def test_pictures_without_facts_are_as_before(panel: PlainPanel) -> None:
    assert QImage.fromData(png_bytes(panel.picture())).textKeys() == []
    assert b"<svg" in svg_bytes(panel)
    with pytest.raises(OSError, match="empty"):
        png_bytes(QImage())


def without_time(facts: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in facts.items() if name != "made"}


# ---- the clipboard ---------------------------------------------------------------------------------------------------


def test_vectors_of_one_length_stand_beside_each_other() -> None:
    text = table_text({"id": np.array([7, 8]), "share": np.array([0.5, 0.25]), "more": np.array([1.0])})
    assert text == "\tid\tshare\n0\t7\t0.5\n1\t8\t0.25\n\n\tmore\n0\t1.0\n"


def test_matrices_have_numbered_rows_and_columns() -> None:
    cube = np.arange(8, dtype=np.int64).reshape(2, 2, 2)
    assert table_text({"m": cube[1]}) == "m\t0\t1\n0\t4\t5\n1\t6\t7\n"
    assert table_text({"m": cube}) == "m[0]\t0\t1\n0\t0\t1\n1\t2\t3\n\nm[1]\t0\t1\n0\t4\t5\n1\t6\t7\n"
    assert table_text({"one": np.float32(2.5)}) == "one\n0\t2.5\n"


def test_words_with_tabs_and_lines_stay_one_cell() -> None:
    rows = list(csv.reader(table_text({"word": np.array(["a\tb", "c\nd"])}).splitlines(keepends=True), "excel-tab"))
    assert rows[1:] == [["0", "a\tb"], ["1", "c\nd"]]


@pytest.mark.parametrize(("arrays", "words"), [({}, "no figures"), ({"x": np.zeros(0)}, "no figures")])
def test_nothing_to_copy_is_told(arrays: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        table_text(arrays)


def test_too_much_for_a_clipboard_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"250,001 figures, too many for the clipboard; save them"):
        table_text({"x": np.zeros(MOST_COPIED + 1)})


# ---- the window ------------------------------------------------------------------------------------------------------


@pytest.fixture
def window(make_window: MakeWindow, tiny_model: Path, qtbot):
    return with_run(make_window, qtbot, tiny_model, PANELS, tokens=4)


def choose(monkeypatch: pytest.MonkeyPatch, path: Path | str, kind: str = "") -> list[str]:
    """The user chooses this file; the names that were suggested."""
    suggested: list[str] = []

    def chosen(parent, title, suggestion, kinds, **options):
        suggested.append(suggestion)
        return str(path), kind

    monkeypatch.setattr(QFileDialog, "getSaveFileName", chosen)
    return suggested


def test_commands_take_the_panel_with_the_focus(window, tmp_path: Path, monkeypatch, qtbot) -> None:
    dock = window.workspace.docks["sampling"]
    window.workspace.bring_up("sampling")
    dock.take_focus()
    trigger(window, "copy_picture")
    assert QApplication.clipboard().image().size() == dock.panel.picture().size()
    trigger(window, "copy_table")
    assert QApplication.clipboard().text() == table_text(dock.panel.values())
    for kind in ("png", "svg", "csv", "npy"):
        choose(monkeypatch, tmp_path / f"s.{kind}")
        trigger(window, f"save_panel.{kind}")
    assert QImage(str(tmp_path / "s.png")).text("prompt") == "hello"
    assert (tmp_path / "s.npy.json").is_file()
    choose(monkeypatch, "")  # left without a file
    trigger(window, "save_panel.png")
    assert not window.error_bar.isVisible()


def test_every_panel_says_where_it_comes_from(window, tmp_path: Path) -> None:
    for key, dock in window.workspace.docks.items():
        window.workspace.bring_up(key)
        for kind in ("png", "svg", "csv", "npy"):
            dock.save(kind, tmp_path / f"{key}.{kind}")
        if not any(np.size(array) for array in dock.panel.values().values()):
            continue
        assert QImage(str(tmp_path / f"{key}.png")).text("panel") == dock.panel.title(), key
        ElementTree.parse(tmp_path / f"{key}.svg")
        about = json.loads((tmp_path / f"{key}.npy.json").read_text("utf-8"))
        assert about["about"]["model"] == window.context.run.model.name, key
        assert ("prompt" in about["about"]) == dock.panel.of_a_run, key
        told = {name: [axis["name"] for axis in entry["axes"]] for name, entry in about["arrays"].items()}
        assert told == {name: [axis.name for axis in dock.panel.axes().get(name, ())] for name in told}, key


def test_the_whole_window_as_a_picture(window, tmp_path: Path, monkeypatch) -> None:
    trigger(window, "copy_window")
    assert QApplication.clipboard().image().size() == window.size()
    suggested = choose(monkeypatch, tmp_path / "whole")
    trigger(window, "save_window")
    image = QImage(str(tmp_path / "whole.png"))
    assert image.size() == window.size()
    assert (image.text("prompt"), image.text("layer")) == ("hello", "0")
    assert suggested == ["fluoroscope.png"]
    assert "whole.png" in window.activity
    choose(monkeypatch, tmp_path / "none" / "a.png")
    trigger(window, "save_window")
    assert "could not be written" in window.error_bar.sentence.text()


def test_without_a_panel_in_focus_it_is_said(window) -> None:
    window.bar.prompt.setFocus()
    trigger(window, "copy_table")
    assert "No panel has the focus" in window.error_bar.sentence.text()
