"""Files and folders are asked for by dialogs of the desktop: here they answer at random, at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog

from app import asking, shelving


@contextmanager
def dialogs(folder: Path, model: Path, seed: int) -> Iterator[None]:
    """What would ask the desktop for a file or show it to the user does neither: it answers at random, at once."""
    chance = random.Random(seed)

    def saved(*arguments: Any, **more: Any) -> tuple[str, str]:
        name = chance.choice(("", "", "a", "run.fluoro", "picture.png", "table.csv", "nowhere/b.png", "film.mp4"))
        return (str(folder / name) if name else "", chance.choice(("", "*")))

    def opened(*arguments: Any, **more: Any) -> tuple[str, str]:
        names = [str(each) for each in sorted(folder.iterdir())]
        return (chance.choice(["", *names]), "")

    def chosen(*arguments: Any, **more: Any) -> str:
        return chance.choice(["", str(folder), str(model)])

    def shown(url: QUrl) -> bool:
        return True

    with ExitStack() as stack:
        answers = {"getSaveFileName": saved, "getOpenFileName": opened, "getExistingDirectory": chosen}
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(QFileDialog, name, staticmethod(answer)))
        stack.enter_context(mock.patch.object(QDesktopServices, "openUrl", staticmethod(shown)))
        stack.enter_context(mock.patch("app.again.start", side_effect=OSError("a test starts no program")))
        yield


@contextmanager
def questions(seed: int) -> Iterator[None]:
    """What asks whether the user is sure is answered at random, at once."""
    chance = random.Random(seed)

    def sure(*arguments: Any) -> bool:
        return chance.choice((True, False))

    with mock.patch.object(asking, "sure", sure), mock.patch.object(shelving, "sure", sure):
        yield
