"""The strip and the list of layers on SmolLM2 itself: its tokens, its probabilities, its stages, a real stop."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

import engine
from app import theme as themes
from app.cursor import Cursor
from app.panels.layers import LayersPanel
from app.panels.panel import Context
from app.panels.token_strip import TokenStrip
from app.run import Run
from app.theme import DARK
from app.widgets.pass_rows import State
from engine.frames import RunFrame, Where


def test_real_tokens_and_a_real_stop(qtbot: QtBot, qapp: QApplication, smollm2_gguf: Path) -> None:
    themes.apply(DARK, qapp, 10.0)
    gate = engine.Gate()
    loaded = engine.load(str(smollm2_gguf))
    session = engine.Session(loaded, sampling=engine.Sampling(greedy=True), gate=gate)
    run = Run()
    run.absorb(loaded.model_frame())
    run.absorb(RunFrame(session.begin("The capital of France is"), 3, False))
    steps = session.steps(3)
    run.absorb(next(steps).frame())
    context = Context(run, Cursor(), DARK, lambda key, question: None)
    strip, layers = TokenStrip(context), LayersPanel(context)
    for panel in (strip, layers):
        qtbot.addWidget(panel)
        panel.show_run()

    values = strip.values()
    assert values["ids"].tolist() == [504, 3575, 282, 4649, 314, 7042]
    assert values["probabilities"][-1] == pytest.approx(0.77254, abs=1e-4)
    assert values["byte_ranges"][-1].tolist() == [24, 30]
    assert "␣Paris" in strip.tip(5)
    assert set(layers.values()["state"].tolist()) == {State.DONE}

    stopped = Event()
    gate.on_stop = lambda where: stopped.set()
    gate.step("layer")
    worker = Thread(target=lambda: run.absorb(next(steps).frame()))
    worker.start()
    try:
        while stopped.wait(60) and gate.where.stage != "add 2":
            stopped.clear()
            gate.step("layer")
        _check_stop(run, gate.where, strip, layers)
    finally:
        gate.resume()
        worker.join(60)
    steps.close()
    layers.show_run()
    assert set(layers.values()["state"].tolist()) == {State.DONE}


def _check_stop(run: Run, where: Where, strip: TokenStrip, layers: LayersPanel) -> None:
    run.absorb(where)
    strip.show_run()
    layers.show_run()
    assert strip.view.marks.reading == range(5, 6)
    assert layers.caption() == "token 6 · decode · reads position 5"
    values = layers.values()
    first = values["state"][values["layer"] == 0]
    assert set(first.tolist()) == {State.DONE}
    assert set(values["state"][values["layer"] > 0].tolist()) == {State.ABSENT}
    assert values["state"].tolist()[0] == State.DONE
    assert values["state"].tolist()[-1] == State.ABSENT
