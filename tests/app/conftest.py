"""Fixtures of the window's tests: settings of their own, small models, and a check for leaks after each test."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QLocale, QSettings
from PySide6.QtWidgets import QApplication
from shiboken6 import isValid

from app import overrides
from app.command_line import Options
from app.mailbox import Mailbox
from app.panels.panel import Context, Panel
from app.preferences import Preferences
from app.window import Window
from app.worker import Worker
from engine.settings import Sampling
from tests.app import leaks
from tests.app.kept_windows import WAIT, Start, close, made
from tests.embedded import embed

GREEDY = Sampling(greedy=True)
overrides.guard()
QLocale.setDefault(QLocale.c())


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another saved, or the user's own settings and session."""
    monkeypatch.setenv("FLUOROSCOPE_STATE", str(tmp_path / "state"))
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


@pytest.fixture(scope="module", autouse=True)
def _thaw() -> None:
    """What tests of another module have left frozen may go."""
    gc.unfreeze()


@pytest.fixture
def no_leaks(qapp: QApplication) -> Iterator[None]:
    """Fails when the test left a thread, a running timer or a window of its own."""
    leaks.settle()
    gc.freeze()  # what is there already need not be searched again
    threads, windows = leaks.threads(), leaks.top_levels()
    yield
    leaks.settle()
    leaks.let_end(leaks.threads() - threads)
    assert leaks.threads() <= threads
    assert [leaks.told(timer) for timer in leaks.active_timers()] == []
    assert leaks.top_levels() <= windows


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama of three layers with a tokenizer of 96 tokens (letters, digits, space)."""
    from tests.engine.tiny import tiny_llama

    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama(folder, eos_token_id=None, bos_token_id=None, max_position_embeddings=512)
    write_tokenizer(folder)
    return folder


@pytest.fixture
def own_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and caches without anything in them."""
    for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def embedded(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the built-in model for this test: the tiny one, which may be damaged."""
    return embed(tiny_model, tmp_path / "demo_model", monkeypatch)


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE without merges over printable ASCII: every character is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def worker(mailbox: Mailbox) -> Iterator[Worker]:
    """A worker that is started and, after the test, must end within two seconds."""
    made = Worker(mailbox, threads=1)
    made.start()
    yield made
    assert made.quit(), "the worker did not end in time"


class PlainPanel(Panel):
    """A panel that counts its calls; its watch is set by the test."""

    key = "plain"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.calls: list[str] = []
        self.answers: list[object] = []
        self.asked: dict = {}

    def title(self) -> str:
        return self.key.title()

    def watches(self) -> dict:
        return self.asked

    def show_run(self) -> None:
        self.calls.append("run")

    def show_cursor(self) -> None:
        self.calls.append("cursor")

    def show_answer(self, key: str, answer: object) -> None:
        self.answers.append((key, answer))

    def restyle(self) -> None:
        self.calls.append("restyle")

    def values(self) -> dict:
        import numpy as np

        return {"numbers": np.arange(6, dtype=np.float32).reshape(2, 3)}


def panel_class(key: str) -> type[PlainPanel]:
    return type(f"Panel_{key}", (PlainPanel,), {"key": key})


PLAIN_PANELS = tuple(panel_class(key) for key in ("strip", "layers", "attention", "residual", "cache", "sampling"))
MakeWindow = Callable[..., Window]


@pytest.fixture
def make_window(qtbot, no_leaks: None) -> Iterator[MakeWindow]:
    """Makes shown windows; each is closed after the test, and must close in time."""
    windows: list[Window] = []

    def make(options: Options | None = None, panels=PLAIN_PANELS, start: bool = False) -> Window:
        box = Mailbox()
        window = Window(Worker(box, threads=1), box, Preferences(), options or Options(sampling=GREEDY), panels)
        windows.append(window)
        window.show()
        qtbot.waitExposed(window)
        if start:
            window.worker.start()
        return window

    yield make
    while windows:
        window = windows.pop()
        window.close()
        assert window.closed_in_time
        window.deleteLater()
        del window


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of the sessions."""
    return tmp_path / "state"


@pytest.fixture
def start(qtbot, no_leaks: None, state: Path, tiny_model: Path) -> Iterator[Start]:
    """Starts windows that keep their session, as the command line says; without words they open what was opened last,
    at first the tiny model."""
    windows: list[Window] = []

    def make(*words: str) -> Window:
        window = made(state, tiny_model, PLAIN_PANELS, *words)
        windows.append(window)
        window.show()
        window.worker.start()
        qtbot.waitUntil(lambda: window.ready and not window.filing.loading, timeout=WAIT)
        return window

    yield make
    while windows:
        window = windows.pop()
        if isValid(window):
            close(window)
        del window


class Journal(list):
    """Frames in the order in which the window took them in."""

    def count_of(self, kind: type) -> int:
        return sum(isinstance(frame, kind) for frame in self)


def with_journal(
    make_window: MakeWindow, qtbot, model: Path | str, panels=PLAIN_PANELS, prompt: str = "hello", **options
) -> tuple[Window, Journal]:
    """A window in which this model is there and a prompt stands ready, and what it took in; ``options`` of the command
    line."""
    window, journal = make_window(Options(model=str(model), sampling=GREEDY, **options), panels), Journal()
    window.received.connect(journal.append)
    window.worker.start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    window.bar.prompt.setPlainText(prompt)
    return window, journal


def with_model(*given, **options) -> Window:
    """The same, without the journal."""
    return with_journal(*given, **options)[0]


def with_run(make_window: MakeWindow, qtbot, model: Path | str, panels, **options) -> Window:
    """The same, after a run of which everything is shown."""
    window, _ = with_journal(make_window, qtbot, model, panels, **options)
    window.run_prompt()
    qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=60_000)
    return window


def trigger(window: Window, name: str) -> None:
    """A command that must be possible now."""
    assert window.actions_by_name[name].isEnabled(), name
    window.actions_by_name[name].trigger()


def slow_passes(window: Window, seconds: float) -> None:
    """Let each pass of the loaded model take longer, so that a run lasts while a loaded computer shows it."""
    session = window.worker._session
    assert session is not None, "a model is loaded"
    session.loaded.model.points["hook_tokens"].observe(lambda tensor: time.sleep(seconds))
