"""Every panel in every theme at two sizes, beside pictures that somebody has looked at.

``FLUOROSCOPE_NEW_PICTURES=1 pytest tests/app/test_golden.py`` writes them anew; look at them before they are kept.
"""

from __future__ import annotations

import os

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QImage

from app.command_line import Options
from app.errand import Errand
from app.panels import PANELS
from app.panels.panel import Panel
from app.theme import THEMES
from app.window import Window
from engine.settings import Sampling
from tests.app.conftest import MakeWindow
from tests.app.pictures import FOLDER, MANY, reduced, share_apart

NEW = os.environ.get("FLUOROSCOPE_NEW_PICTURES") == "1"
SIZES = {"large": (1600, 1000), "small": (960, 600)}
PROMPT = "Once upon a time there was"
OTHERWISE = ("models",)  # shows what this computer holds, and how much is free on it


@pytest.fixture
def window(make_window: MakeWindow, qtbot, monkeypatch: pytest.MonkeyPatch) -> Window:
    """After a run of the built-in model that is the same everywhere."""
    pin, greedy = {"layer": 3, "head": 1, "position": 8}, Sampling(greedy=True)
    options = Options(model="demo", prompt=PROMPT, tokens=6, sampling=greedy, size=SIZES["large"], pin=pin)
    made = make_window(options, PANELS, start=True)
    Errand(made, options)
    qtbot.waitUntil(lambda: made.context.run.ended is not None and made.complete, timeout=60_000)
    if made.strip is not None:
        made.strip.set_timeline("surprise")  # what time a pass took is another each time
    return made


def settled(panel: Panel, window: Window, qtbot) -> QImage:
    """Once it does not change any more: panels ask anew when they have another size, and paint behind the answer."""
    qtbot.wait(300)  # they ask 200 ms after they were resized
    before = reduced(panel.picture())
    for _ in range(40):
        qtbot.wait(80)
        now = reduced(panel.picture())
        if now == before and window.complete:
            break
        before = now
    return before


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_panels_look_as_they_did(theme: str, window: Window, qtbot) -> None:
    window.looks.use_theme(theme)
    wrong = []
    for size, (width, height) in SIZES.items():
        window.resize(width, height)
        for key, dock in window.workspace.docks.items():
            if key in OTHERWISE:
                continue
            window.workspace.restore_maximised()
            window.workspace.bring_up(key)
            window.workspace.toggle_maximised(dock)
            qtbot.waitUntil(lambda dock=dock: dock.shown and window.complete, timeout=20_000)
            picture = settled(dock.panel, window, qtbot)
            path = FOLDER / f"{key}-{theme}-{size}.png"
            if NEW:
                FOLDER.mkdir(exist_ok=True)
                assert picture.save(str(path), "PNG", 9)
            elif (apart := share_apart(picture, QImage(str(path)))) > MANY:
                wrong.append(f"{path.name}: {apart:.1%} of the pixels are far apart")
        window.workspace.restore_maximised()
    assert wrong == []


def test_what_is_compared_is_the_picture(qapp) -> None:
    """Another panel, another theme or nothing at all is told from it; a letter's edge is not."""
    for key in ("attention", "residual", "sampling", "layers"):
        kept = QImage(str(FOLDER / f"{key}-dark-large.png"))
        assert share_apart(kept, kept) == 0
        assert share_apart(kept, QImage(str(FOLDER / f"{key}-light-large.png"))) > 10 * MANY
        assert share_apart(kept, QImage(str(FOLDER / "lens-dark-large.png"))) > MANY
        blank = QImage(kept.size(), QImage.Format.Format_RGB32)
        blank.fill(kept.pixelColor(QPoint(0, 0)))
        assert share_apart(kept, blank) > MANY
        assert share_apart(kept, reduced(kept)) == 1.0


def test_there_is_a_picture_of_every_panel_and_no_other() -> None:
    assert len(list(FOLDER.glob("*.png"))) == (len(PANELS) - len(OTHERWISE)) * len(THEMES) * len(SIZES)
