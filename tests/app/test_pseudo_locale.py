"""The window in a language that nobody speaks: every text is translated, or it is data, and nothing is cut off."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLabel, QTabBar, QTabWidget, QWidget

import engine
import resources
from app.command_line import Options
from app.commands import COMMANDS, why_not
from app.examples import read_examples
from app.glossary import glossary
from app.keys import OWN_KEYS
from app.panels import PANELS
from app.run import visible
from app.window import Window
from engine.checkpoint.catalog import catalog
from engine.edits import Edit
from engine.frames import AnswerFrame
from engine.point_code import SAMPLING_CODE
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.pseudo import ACCENTS, FIRST, LAST, spoken
from tests.app.texts_seen import painted, repaint, texts_of
from tests.engine.run_files import made, rewritten, saved, with_facts

PROMPT = "The cat sat on the"
PAGES = (
    *("show_keys", "change_keys", "show_palette", "show_log", "show_glossary", "show_marks", "show_presenter"),
    *("show_audience", "save_layout", "show_hidden", "choose_record", "show_examples", "new_edit", "branch"),
)
_WORD = re.compile(r"[^\W\d_]{3,}")
_CHANGED = {chr(letter) for letter in ACCENTS}
_NAME = r"\w+(?:[._/\-]\w+)+|\w*_\w*|\w*\d\w*"  # of tensors, files, models: d_model, kv.hook_k, org/name, W8A8
_SHAPE, _QUOTED, _KEYS = r"\[[^\]]*\]", r"“[^”]*”", r"(?:Ctrl|Alt|Shift|Meta)\+\S+"
_SPACE = r"\s+"
_TOKEN = r"^(?:\d+ )?␣\w*…?$"
_UNITS, _NAMES = "[kMGTP]?FLOP|nats|bits", "Fluoroscope|Python|NumPy|English"
_UNTRANSLATED = ("auto", "cpu")  # values of options


def untranslated(text: str, data: re.Pattern[str]) -> str:
    """The words of a text that are neither translated nor data."""
    found = _WORD.findall(data.sub(" ", text))
    return " ".join(word for word in found if word.isascii() and set(word) & _CHANGED)


def _known() -> Iterator[str]:
    """Names of models, formulas and code of the data files, keys, what examples let a model read."""
    yield from _UNTRANSLATED
    yield from (each for entry in catalog() for each in (entry.title, entry.licence, entry.hub, entry.name))
    yield from (text for example in read_examples() for text in (example.text, visible(example.text)))
    yield from (shown for _, shown, _ in OWN_KEYS)
    yield from (each for term in glossary().terms.values() for each in (term.formula, *term.sources))
    yield from (line for code in SAMPLING_CODE.values() for line in code.splitlines())
    for name in ("panels", "sampling", "stages"):
        rows = json.loads(resources.path(f"depths/{name}.json").read_text(encoding="utf-8"))
        yield from (line for row in rows for kind in ("formula", "code") for line in row.get(kind, "").splitlines())


def _of_model(window: Window) -> Iterator[str]:
    """Its names, points with their formulas and code."""
    model = window.context.run.model
    if model is None:
        return
    yield from (PROMPT, model.name, model.source, model.family, model.dtype, model.device, *model.stored_as.split())
    points = (*model.points_before, *(p for layer in model.layers for p in layer.points), *model.points_behind)
    texts = [text for point in points for text in (point.formula, point.code, *point.shape)]
    texts += [text for layer in model.layers for one in layer.attention_stages for text in (one.formula, one.code)]
    yield from (line for text in texts for line in text.splitlines())


def _escaped(names: Iterable[str]) -> list[str]:
    """The longest ones first. White space is whatever the window made of it."""
    chosen = sorted((name for name in names if len(name) > 2), key=len, reverse=True)
    parts = (_SPACE.join(map(re.escape, name.split())) for name in chosen)
    return [rf"(?<!\w){part}(?!\w)" for part in parts]


@pytest.fixture
def talking() -> Iterator[list[str]]:
    """The language is spoken; what is painted meanwhile."""
    with spoken(), painted() as drawn:
        yield drawn


@pytest.fixture
def live(talking: list[str], make_window: MakeWindow, qtbot) -> Window:
    """A run of the model that comes with the program, which has experts."""
    window = make_window(Options(model="demo", sampling=GREEDY, tokens=3, size=(1600, 1000)), PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    window.bar.prompt.setPlainText(PROMPT)
    window.run_prompt()
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=60_000)
    return window


class Data:
    """What is the same in every language: names, tokens, formulas, signs, keys."""

    def __init__(self, window: Window) -> None:
        self._window, self._answered, self._sound = window, set[str](), set[str]()
        self._names = {*_known(), *_of_model(window)}
        rules = (_SHAPE, _QUOTED, _KEYS, _TOKEN, *_escaped(self._names), _NAME, _UNITS, _NAMES)
        self._pattern = re.compile("|".join(rules))
        window.received.connect(self._take)

    def _take(self, frame: object) -> None:
        if isinstance(frame, AnswerFrame):
            self._answered |= {visible(piece.text) for piece in getattr(frame.answer, "pieces", ())}

    def untranslated(self, text: str) -> str:
        """The words that are neither translated nor data."""
        if text in self._sound:
            return ""
        found = _WORD.findall(self._pattern.sub(" ", text))
        words = " ".join(word for word in found if word.isascii() and set(word) & _CHANGED)
        if not words or self._has(text):
            self._sound.add(text)
            return ""
        return words

    def _has(self, text: str) -> bool:
        """Whether it is a token or a name by itself, or behind its position; cut, where there was no room."""
        bare = re.sub(r"^\d+ ", "", text.strip())
        run = self._window.context.run
        pieces = (*run.pieces, *(piece for step in run.steps for piece in step.candidates))
        known = {each.strip() for each in (*self._names, *self._answered, *(visible(piece.text) for piece in pieces))}
        return bare in known or (bare.endswith("…") and any(each.startswith(bare[:-1].strip()) for each in known))


def plain_texts(drawn: list[str], data: Data) -> set[str]:
    """What is not translated: whose it is, the words, the text around them."""
    found = {("painted", text) for text in drawn}
    for top in QApplication.topLevelWidgets():
        found.update(texts_of(top))
    told = ((whose, data.untranslated(text), text) for whose, text in found)
    return {f"{whose}: {words} | {text[:150]!r}" for whose, words, text in told if words}


def go(window: Window, qtbot, name: str) -> None:
    """Trigger a command and draw what came of it."""
    window.actions_by_name[name].trigger()
    qtbot.waitUntil(lambda: window.complete, timeout=60_000)
    repaint(window)


def every_page(window: Window, qtbot) -> None:
    """Every panel with every tab of it, drawn once."""
    for key, dock in window.workspace.docks.items():
        window.workspace.bring_up(key)
        for tabs in dock.findChildren(QTabWidget):
            for tab in range(tabs.count()):
                tabs.setCurrentIndex(tab)
                qtbot.waitUntil(lambda: window.complete, timeout=60_000)
                repaint(window)
        qtbot.waitUntil(lambda: window.complete, timeout=60_000)
        repaint(window)


def test_every_text_of_the_panels_is_translated(live: Window, talking: list[str], qtbot) -> None:
    data = Data(live)
    for layout in ("explore", "all"):
        go(live, qtbot, f"use_layout.{layout}")
    every_page(live, qtbot)
    assert len(set(talking)) > 200  # pictures were drawn
    assert plain_texts(talking, data) == set()


def test_every_text_of_every_depth_is_translated(live: Window, talking: list[str], qtbot) -> None:
    data, found = Data(live), set[str]()
    go(live, qtbot, "use_layout.all")
    for depth in ("story", "formula", "code"):
        go(live, qtbot, f"use_depth.{depth}")
        found |= plain_texts(talking, data)
    assert found == set()


@pytest.mark.qt_log_ignore("This plugin does not support")
def test_every_text_of_pages_and_dialogs_is_translated(live: Window, talking: list[str], qtbot) -> None:
    data, found = Data(live), set[str]()
    for page in PAGES:
        go(live, qtbot, page)
        found |= {f"{page}: {text}" for text in plain_texts(talking, data)}
        live.undo_one()
    assert found == set()


# what goes wrong, and what the window does then; DATA stands for a folder with files that are no models
WRONG: dict[str, Callable[[Window, Path], None]] = {
    "a missing file": lambda window, data: window.filing.open_model(str(data / "gone.gguf")),
    "an empty folder": lambda window, data: window.filing.open_model(str(data / "empty")),
    "a damaged file": lambda window, data: window.filing.open_model(str(data / "damaged.gguf")),
    "pickled weights": lambda window, data: window.filing.open_model(str(data / "pickled")),
    "a configuration": lambda window, data: window.filing.open_model(str(data / "odd")),
    "a run": lambda window, data: window.filing.open_model(str(data / "damaged.fluoro")),
    "a download": lambda window, data: window.shelving.download("nobody/nothing"),
    "an empty prompt": lambda window, data: _run(window, ""),
    "a long prompt": lambda window, data: _run(window, "long " * 3_000),
    "an edit": lambda window, data: window.context.tray.add(
        Edit("zero", "attn.hook_z", layers=(1,), heads=(99,), name="T1")
    ),
    "experts": lambda window, data: window.context.tray.add(
        Edit("forbid", "mlp.hook_router_choice", layers=(1,), entries=tuple(range(8)))
    ),
    "a place to save": lambda window, data: window.worker.save_run(data / "none" / "run.fluoro"),
}


def _run(window: Window, prompt: str) -> None:
    window.bar.prompt.setPlainText(prompt)
    window.run_prompt()


@pytest.fixture
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("empty", "pickled", "odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF\3\0\0\0" + b"\xff" * 40)
    (tmp_path / "damaged.fluoro").write_bytes(b"PK\3\4" + bytes(100))
    for name, config in (("pickled", '{"model_type": "llama"}'), ("odd", '{"model_type": "llama", "hidden_size": -3}')):
        (tmp_path / name / "config.json").write_text(config)
        (tmp_path / name / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "odd" / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    return tmp_path


def test_every_error_is_said_in_the_language(live: Window, qtbot, no_models: Path) -> None:
    data, found = Data(live), {}
    for name, do in WRONG.items():
        live.error_bar.hide()
        do(live, no_models)
        qtbot.waitUntil(lambda: not live.error_bar.isHidden(), timeout=60_000)
        sentence = live.error_bar.sentence.text().replace(os.strerror(errno.ENOENT), "")  # the system's words
        assert live.error_bar.text().startswith(FIRST), name
        found[name] = (sentence.startswith(FIRST), sentence.endswith(LAST), data.untranslated(sentence))
    assert set(found.values()) == {(True, True, "")}, found


def test_a_run_without_its_model_says_so_in_the_language(
    make_window: MakeWindow, talking: list[str], qtbot, tmp_path: Path, tiny_model: Path
) -> None:
    session, steps = made(engine.load(tiny_model, device="cpu"), "hello abc", 6, seed=5)
    whole = saved(tmp_path / "whole.fluoro", session, steps, reason="limit", max_new_tokens=6)
    orphan = rewritten(whole, tmp_path / "run.fluoro", with_facts(lambda facts: facts["model"].update(source="gone")))
    window = make_window(Options(model=str(orphan), sampling=GREEDY, layout="all"), PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=60_000)
    needs = {dock.panel.need for dock in window.workspace.docks.values() if dock.panel.need}
    assert needs
    edit = next(command for command in COMMANDS if command.name == "new_edit")
    for sentence in (*needs, window.notice_bar.sentences.text(), why_not(edit, window.situation())):
        assert sentence.count(FIRST) >= 1, sentence
        assert Data(window).untranslated(sentence) == ""


@pytest.mark.parametrize("layout", ["explore", "all"])
def test_every_text_without_a_model_is_translated(
    make_window: MakeWindow, talking: list[str], qtbot, layout: str
) -> None:
    window = make_window(Options(sampling=GREEDY, layout=layout), PANELS)
    repaint(window)
    assert plain_texts(talking, Data(window)) == set()


def test_a_text_that_is_not_translated_is_found(live: Window, talking: list[str]) -> None:
    """Else the tests above prove nothing."""
    live.bar.setToolTip("Run the prompt")
    assert any("Run the prompt" in text for text in plain_texts(talking, Data(live)))


# ---- room ----------------------------------------------------------------------------------------------------------


def cut_off(window: Window) -> set[str]:
    """Texts that are seen in part only, and are nowhere told in full."""
    found = set()
    for widget in window.findChildren(QWidget):
        if widget.isVisible() and not widget.visibleRegion().isEmpty():
            found |= {f"{_path(widget)}: {text}" for text in _cut_texts(widget)}
    return found


def _path(widget: QWidget) -> str:
    parents = []
    while widget is not None and len(parents) < 4:
        parents.append(widget.objectName() or type(widget).__name__)
        widget = widget.parentWidget()
    return " < ".join(parents)


def _cut_texts(widget: QWidget) -> Iterator[str]:
    """Of texts in one line that are wider than their widget."""
    if isinstance(widget, QTabBar):
        yield from _cut_tabs(widget)
        return
    text, needed = _line_of(widget)
    tips = f"{widget.toolTip()} {widget.parentWidget().toolTip()}"  # the mouse on a part tells of the whole
    if text.strip() and widget.width() < needed and text.strip() not in tips:
        yield text


def _line_of(widget: QWidget) -> tuple[str, int]:
    """The text of a widget, "" for none or one that wraps, and the pixels that it needs."""
    if isinstance(widget, QComboBox):
        return widget.currentText(), _room_of(widget)
    if isinstance(widget, QAbstractButton) or (isinstance(widget, QLabel) and not widget.wordWrap()):
        return widget.text(), widget.sizeHint().width()
    return "", 0


def _room_of(box: QComboBox) -> int:
    """For the text that is chosen; the hint of a list is for its longest one."""
    wide = box.fontMetrics().horizontalAdvance
    longest = max((wide(box.itemText(row)) for row in range(box.count())), default=0)
    return box.sizeHint().width() - longest + wide(box.currentText())


def _cut_tabs(bar: QTabBar) -> Iterator[str]:
    for tab in range(bar.count()):
        text = bar.tabText(tab)
        cut = bar.fontMetrics().horizontalAdvance(text) > bar.tabRect(tab).width()
        if bar.isTabVisible(tab) and cut and text not in bar.tabToolTip(tab):
            yield text


@pytest.mark.parametrize("size", [(1600, 1000), (1280, 720)])
def test_no_text_is_cut_off(live: Window, qtbot, size: tuple[int, int]) -> None:
    live.resize(*size)
    found = set()
    for layout in ("explore", "all", "teach", "debug"):
        go(live, qtbot, f"use_layout.{layout}")
        found |= cut_off(live)
    for key in live.workspace.docks:
        live.workspace.bring_up(key)
        qtbot.waitUntil(lambda: live.complete, timeout=60_000)
        found |= cut_off(live)
    assert found == set()


def test_a_text_that_is_cut_off_is_found(live: Window) -> None:
    label = live.status.model
    assert not any(label.text() in text for text in cut_off(live))
    label.setToolTip("")
    label.setFixedWidth(20)
    QApplication.processEvents()
    assert any(label.text() in text for text in cut_off(live))
