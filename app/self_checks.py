"""What ``--self-test`` presses and what must then be on screen, check by check: a later part adds a row.

The two tables are at the end; panels come by themselves.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

import resources
from app.command_line import Options
from app.commands import COMMANDS, identity
from app.export import WRITERS, png_bytes
from app.layout_names import NAMES
from app.panels.panel import Panel
from app.self_test import Check, Waiting
from app.window import Window
from engine.edits import Edit
from engine.settings import Sampling

EXPECTED = "self_test.json"
TOLERANCE = 0.01  # of a logit: float32 on another processor differs by less than a thousandth
LONG_RUN = 200  # tokens: long enough to be paused in the middle
STANDS_S = 0.3
LEAST_COLOURS = 12  # a picture with text has more, an empty panel has one or two


@cache
def expected() -> dict[str, Any]:
    """``prompt``; ``tokens`` chosen greedily after it; per token the highest logits, ``ids`` and ``logits``."""
    return json.loads(resources.path(EXPECTED).read_bytes())


def options(given: Options) -> Options:
    """The options under which figures are comparable, whatever else the command line says."""
    return replace(
        given,
        model="demo",
        device="cpu" if given.device == "auto" else given.device,
        dtype="float32",
        tokens=len(expected()["tokens"]),
        sampling=Sampling(greedy=True),
        sampling_given=frozenset({"greedy"}),
        size=(1600, 1000),
        theme="dark",
    )


# ---- the run -----------------------------------------------------------------------------------------------------


def engine_starts(window: Window) -> Waiting:
    yield lambda: window.ready


def model_loads(window: Window) -> Waiting:
    yield lambda: window.context.run.model is not None and window.pages.currentWidget() is window.workspace
    assert window.bar.prompt.toPlainText(), "no prompt lies ready"


def makes_tokens(window: Window) -> Waiting:
    yield from run(window)
    chosen = [step.piece.id for step in window.context.run.steps]
    assert chosen == expected()["tokens"], f"the tokens are {chosen}"


def logits_agree(window: Window) -> Waiting:
    """The highest logits of every step, as they stand before the first stage of sampling changes anything."""
    yield lambda: True
    for step, wanted in zip(window.context.run.steps, expected()["steps"], strict=True):
        found = dict(zip(step.sampling.ids.tolist(), step.sampling.stages[0].logits.tolist(), strict=True))
        worst = max(abs(found.get(i, np.inf) - logit) for i, logit in zip(wanted["ids"], wanted["logits"], strict=True))
        assert worst <= TOLERANCE, f"a logit of token {step.end} is {worst:.4g} off"


def stops_in_a_layer(window: Window) -> Waiting:
    press(window, "step_layer")
    yield partial(paused, window)
    yield from stands(window)
    where = window.context.run.where
    assert (where.layer, where.step) == (0, 0), f"it stands in layer {where.layer} of step {where.step}"
    assert pass_rows(window)[:3] == [2, 0, 0], f"the layers are computed as in {pass_rows(window)}"


def steps_on(window: Window) -> Waiting:
    """One stage is inside layer 1; the rest of the layer ends it."""
    press(window, "step_stage")
    yield lambda: paused(window) and window.context.run.where.layer == 1
    yield from stands(window)
    assert pass_rows(window)[:3] == [2, 1, 0], f"the layers are computed as in {pass_rows(window)}"
    press(window, "finish_layer")
    yield lambda: paused(window) and pass_rows(window)[:3] == [2, 2, 0]


def goes_on(window: Window) -> Waiting:
    press(window, "run")
    yield lambda: not window.active
    yield lambda: window.complete
    assert [step.piece.id for step in window.context.run.steps] == expected()["tokens"], "stepping changed the tokens"


def pauses_a_run(window: Window) -> Waiting:
    window.bar.tokens.setValue(LONG_RUN)
    press(window, "run")
    yield lambda: window.active and bool(window.context.run.steps)
    press(window, "pause")
    yield partial(paused, window)
    yield from stands(window)
    assert window.context.run.n_tokens < LONG_RUN, "it was over before it was paused"
    press(window, "stop")
    yield lambda: not window.active
    window.bar.tokens.setValue(len(expected()["tokens"]))


def draws_by_seed(window: Window) -> Waiting:
    before, drawn = window.sampling, []
    for _ in range(2):
        window.set_sampling(Sampling(temperature=1.5, top_k=50, seed=7))
        yield from run(window)
        drawn.append([step.piece.id for step in window.context.run.steps])
    window.set_sampling(before)
    assert drawn[0] == drawn[1], f"one seed drew {drawn[0]} and {drawn[1]}"
    assert drawn[0] != expected()["tokens"], "a high temperature changed nothing"


def edits_a_run(window: Window) -> Waiting:
    """The first token is banned; without the edit all are as before."""
    first = expected()["tokens"][0]
    window.context.tray.add(Edit("ban", "hook_logits_final", entries=(first,)))
    yield from run(window)
    assert window.context.run.steps[0].piece.id != first, "a banned token was chosen"
    assert all(step.edited for step in window.context.run.steps), "a pass is not marked as edited"
    press(window, "undo_edit")
    yield from run(window)
    assert [step.piece.id for step in window.context.run.steps] == expected()["tokens"], "the edit left something"


def branches_a_run(window: Window) -> Waiting:
    """Another second token begins a branch; the run is as it was when one switches back."""
    yield from run(window)
    context, before = window.context, [step.piece.id for step in window.context.run.steps]
    step = context.run.steps[1]
    other = next(token for token in step.sampling.ids.tolist() if token != step.piece.id)
    window.branching.branch_at(step.end, other)
    yield lambda: [each.piece.id for each in context.run.steps] == [before[0], other]
    yield lambda: context.run.tree is not None and len(context.run.tree.branches) == 2
    assert context.run.tree is not None
    window.branching.switch(context.run.tree.branches[0].number)
    yield lambda: [each.piece.id for each in context.run.steps] == before


# ---- what is on screen -------------------------------------------------------------------------------------------


def panel_shows(key: str, window: Window) -> Waiting:
    """It comes to the front, has its answers, figures and a picture."""
    dock = window.workspace.docks[key]
    window.workspace.bring_up(key)
    if key == "notes":  # it has what somebody has noted
        window.noting.bookmark()
    if key == "edits":  # it has what is in the tray
        window.context.tray.add(Edit("ban", "hook_logits_final", entries=(0,), on=False))
    yield lambda: dock.shown and window.complete and has_values(dock.panel)
    assert colours(dock.panel.picture()) >= LEAST_COLOURS, "its picture is blank"
    if key == "edits":
        press(window, "undo_edit")


def exports(window: Window) -> Waiting:
    window.workspace.bring_up("attention")
    yield lambda: window.workspace.docks["attention"].shown and window.complete
    dock = window.workspace.docks["attention"]
    with tempfile.TemporaryDirectory() as folder:
        for kind in WRITERS:
            dock.save(kind, Path(folder, f"panel.{kind}"))
            written = sorted(Path(folder).glob(f"panel*.{kind}"))
            assert written, f"no {kind} was written"
            assert all(READERS[kind](path) for path in written), f"the {kind} cannot be read"


def arranges(window: Window) -> Waiting:
    for name in NAMES:
        press(window, "use_layout", name)
        yield lambda: window.complete
        assert colours(window.grab().toImage()) > LEAST_COLOURS, f"the {name} layout is blank"


def changes_theme(window: Window) -> Waiting:
    for name, bright in (("light", True), ("dark", False)):
        press(window, "use_theme", name)
        yield lambda: window.complete
        image = window.grab().toImage()
        assert colours(image) > LEAST_COLOURS, f"the {name} theme is blank"
        assert (image.pixelColor(2, image.height() - 2).lightness() > 128) == bright, f"it is not the {name} theme"


def scales_text(window: Window) -> Waiting:
    before = window.looks.points
    press(window, "larger_text")
    yield lambda: window.looks.points > before
    press(window, "normal_text")
    yield lambda: window.looks.points == before


def takes_a_picture(window: Window) -> Waiting:
    yield lambda: window.complete
    image = QImage.fromData(png_bytes(window.grab().toImage()))
    assert image.size() == window.size() * window.devicePixelRatio(), "the picture has another size"
    assert colours(image) > LEAST_COLOURS, "the picture is blank"


def has_icons(window: Window) -> Waiting:
    yield lambda: True
    for command in COMMANDS:
        icon = window.actions_by_name[identity(command)].icon()
        assert not command.icon or colours(icon.pixmap(32, 32).toImage(), 1) > 1, f"the icon {command.icon} is blank"


def shows_pages(window: Window) -> Waiting:
    press(window, "show_keys")
    yield window.commanding.sheet.isVisible
    press(window, "undo_one")
    yield lambda: not window.commanding.sheet.isVisible()
    press(window, "show_models")
    yield lambda: shows_models(window) and window.complete
    assert colours(window.grab().toImage()) > LEAST_COLOURS, "the page of models is blank"
    press(window, "show_models")
    yield lambda: not shows_models(window)


# ---- files -------------------------------------------------------------------------------------------------------


def takes_a_drop(window: Window) -> Waiting:
    """The folder of the built-in model, dropped on the window."""
    folder = resources.path("demo_model/config.json").parent
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder))])
    where, copy, left, none = QPoint(400, 300), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier
    entered = QDragEnterEvent(where, copy, data, left, none.NoModifier)
    QApplication.sendEvent(window, entered)
    assert entered.isAccepted(), "the window does not want it"
    QApplication.sendEvent(window, QDropEvent(QPointF(where), copy, data, left, none.NoModifier))
    yield lambda: window.filing.loading
    yield lambda: not window.filing.loading
    model = window.context.run.model
    assert model is not None, "no model is open"
    assert Path(model.source) == folder, f"{model.source} was opened"
    window.bar.prompt.setPlainText(expected()["prompt"])
    yield from run(window)
    assert [step.piece.id for step in window.context.run.steps] == expected()["tokens"], "it chooses other tokens"


def saves_and_opens_a_run(window: Window) -> Waiting:
    """The run on screen, saved, opened again with its model, and taken further."""
    before = [step.piece.id for step in window.context.run.steps]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checked.fluoro")
        window.filing.save_run_as(path)
        yield lambda: not window.filing.saving and path.is_file()
        window.filing.open_model(str(path))
        yield lambda: window.filing.opened is not None and window.filing.opened.path == str(path)
        yield lambda: window.actions_by_name["go_on"].isEnabled() and window.complete
        assert window.filing.opened is not None
        assert not window.filing.opened.why, window.filing.opened.why
    assert [step.piece.id for step in window.context.run.steps] == before, "it has other tokens"
    press(window, "go_on")
    yield lambda: not window.active and len(window.context.run.steps) > len(before)


def lists_tensors(window: Window) -> Waiting:
    """What ``inspect demo`` prints, from headers alone."""
    from engine.checkpoint.inventory import inventory

    yield lambda: True
    found, model = inventory("demo"), window.context.run.model
    assert not found.complaints, found.complaints[0]
    assert model is not None
    assert sum(entry.parameters for entry in found.entries) == model.parameters, "the counts of parameters differ"


# ---- what checks share -------------------------------------------------------------------------------------------


def run(window: Window) -> Waiting:
    """The expected prompt, to its end, until everything about it is on screen."""
    window.bar.prompt.setPlainText(expected()["prompt"])
    press(window, "run")
    yield lambda: not window.active
    yield lambda: window.complete
    ended = window.context.run.ended
    assert ended is not None, "the run has no end"
    assert ended.reason == "limit", f"the run ended with {ended.reason}"


def press(window: Window, name: str, argument: str = "") -> None:
    """A command as from its menu. AssertionError where it is not possible now."""
    command = next(command for command in COMMANDS if (command.name, command.argument) == (name, argument))
    action = window.actions_by_name[identity(command)]
    assert action.isEnabled(), f"{name} is not possible"
    action.trigger()


def paused(window: Window) -> bool:
    return window.situation().state == "paused" and window.complete


def shows_models(window: Window) -> bool:
    """On the start page, or on the shelf."""
    shelf = window.workspace.docks.get("models")
    return window.pages.currentWidget() is not window.workspace or (shelf is not None and shelf.shown)


def stands(window: Window) -> Waiting:
    """Nothing moves for a while, in the engine either."""
    place, since = window.worker.where(), time.monotonic()
    assert place == window.context.run.where, f"the engine is at {place}"
    yield lambda: time.monotonic() - since > STANDS_S
    assert window.worker.where() == place, "the pass went on"


def pass_rows(window: Window) -> list[int]:
    """Per layer: 0 not computed, 1 partly, 2 done."""
    values = window.workspace.docks["layers"].panel.values()
    layers = sorted(set(values["layer"][values["layer"] >= 0].tolist()))
    return [int(values["state"][values["layer"] == layer][0]) for layer in layers]


def has_values(panel: Panel) -> bool:
    return any(np.asarray(array).size for array in panel.values().values())


def colours(image: QImage, every: int = 4) -> int:
    """How many different pixels there are, looking at some."""
    places = ((x, y) for x in range(0, image.width(), every) for y in range(0, image.height(), every))
    return len({image.pixel(x, y) for x, y in places})


READERS: dict[str, Callable[[Path], object]] = {
    "png": lambda path: colours(QImage(str(path))) > LEAST_COLOURS,
    "svg": lambda path: QSvgRenderer(str(path)).isValid(),
    "csv": lambda path: "\narray,index,value\n" in path.read_text("utf-8") and path.stat().st_size > 100,
    "npy": lambda path: np.load(path, allow_pickle=False).size,
}

RUN_CHECKS = (
    Check("the engine starts", engine_starts, 120),
    Check("the model that comes with the program loads", model_loads, 60),
    Check("a prompt becomes tokens", makes_tokens, 60),
    Check("its logits are those that were stored", logits_agree),
    Check("the pass stops inside, and stands", stops_in_a_layer),
    Check("a stage more, a layer more", steps_on),
    Check("it goes on to the same tokens", goes_on),
    Check("a run is paused and stopped", pauses_a_run),
    Check("a seed draws the same tokens again", draws_by_seed),
    Check("an edit changes the tokens, undo brings them back", edits_a_run),
    Check("another token begins a branch, the run stays", branches_a_run),
)
VIEW_CHECKS = (
    Check("every layout", arranges),
    Check("both themes", changes_theme),
    Check("larger and normal text", scales_text),
    Check("every icon", has_icons),
    Check("the keys and the models", shows_pages),
    Check("a panel as PNG, SVG, CSV and NPY", exports),
    Check("a picture of the window", takes_a_picture),
    Check("the tensors, from headers alone", lists_tensors),
    Check("a run is saved, opened again and goes on", saves_and_opens_a_run, 60),
    Check("a folder dropped on the window opens", takes_a_drop, 60),
)


def checks(window: Window) -> Iterator[Check]:
    """All of them, in this order; every panel of the window is one."""
    yield from RUN_CHECKS
    for panel in window.board.panels:
        yield Check(f"the panel {panel.title()}", partial(panel_shows, panel.key))
    yield from VIEW_CHECKS
