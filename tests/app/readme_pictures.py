"""README's pictures: ``python -m tests.app.readme_pictures [NAME …]`` takes them anew, in .github/pictures.

Of a real window with a real run: of the built-in model, and of SmolLM2-135M-Instruct as the tests have it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication

from app.command_line import Options, parse
from app.errand import Errand
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.window import Window
from app.worker import Worker
from engine.edits import Edit
from tests.real import real_gguf

FOLDER = Path(__file__).parents[2] / ".github" / "pictures"
PATIENCE = 120.0  # seconds
CAPITAL = "The capital of France is"
TOWER = "The Eiffel Tower stands in the city of"
THREE_TEXTS = (
    "Once upon a time there was a king who had a daughter.\n\n"
    "def mean(values):\n    return sum(values)\n\n12 + 30 = 42\n58 - 21 = 37\n"
)


def until(there: Callable[[], bool], rest: float = 0.5) -> None:
    """Wait for it, and a little longer: pictures are painted behind their answers."""
    deadline, rested = time.monotonic() + PATIENCE, None
    while rested is None or time.monotonic() < rested:
        QApplication.processEvents()
        time.sleep(0.005)
        if rested is None and there():
            rested = time.monotonic() + rest
        assert time.monotonic() < deadline, "it did not come in time"


def opened(words: str, *more: str) -> Window:
    """A window with a run that has ended, or stands where the words say; without settings of its own."""
    options = parse([*words.split(), *more])
    mailbox = Mailbox()
    window = Window(Worker(mailbox, options.threads), mailbox, Preferences(False), options, PANELS)
    Errand(window, options)
    window.show()
    window.worker.start()
    until(lambda: window.context.run.model is not None)
    if options.prompt is not None:
        until(lambda: _stands(window, options) and window.complete, rest=1.0)
    return window


def _stands(window: Window, options: Options) -> bool:
    run = window.context.run
    return run.where.state == "paused" if options.pause_at is not None else run.ended is not None


def smollm2(words: str, prompt: str) -> Window:
    return opened(f"--size 1600x900 {words}", "--model", str(real_gguf()), "--prompt", prompt)


def demo(words: str, prompt: str) -> Window:
    return opened(f"--size 1600x900 {words}", "--prompt", prompt)


def focus() -> Window:
    return smollm2("--tokens 24 --greedy --layer 3 --head 4 --theme dark --layout explore", CAPITAL)


def stopped() -> Window:
    return smollm2("--tokens 12 --greedy --pause-at 11 --layer 11 --theme dark --layout all", CAPITAL)


def grid() -> Window:
    words = "--tokens 24 --temperature 0.8 --top-k 40 --top-p 0.95 --layer 3 --theme light --layout all"
    return smollm2(words, CAPITAL)


def lens() -> Window:
    words = "--tokens 6 --greedy --layer 28 --position 8 --panel lens --theme dark --layout explore"
    return smollm2(words, TOWER)


def experts() -> Window:
    return demo("--tokens 2 --layer 4 --panel experts --theme dark --layout explore", THREE_TEXTS)


def tensors() -> Window:
    return demo("--tokens 4 --panel tensors --theme dark --layout explore", "Once upon a time")


def models() -> Window:
    """The shelf of a computer that has none but the built-in one."""
    with tempfile.TemporaryDirectory() as empty:
        os.environ["FLUOROSCOPE_CACHE"] = empty
        window = opened("--size 1600x900 --theme light")
        window.show_models()
        window.workspace.toggle_maximised(window.workspace.docks["models"])
        until(lambda: window.context.shelf.complete)
        assert window.models_panel is not None
        window.models_panel.table.pick("llama-3.2-1b")
        until(lambda: window.complete)
        del os.environ["FLUOROSCOPE_CACHE"]
    return window


def debugger() -> Window:
    """Stopped inside layer 21, with two edits, beside the pass without them."""
    window = smollm2("--tokens 6 --greedy --theme dark --layout explore", TOWER)
    off = Edit("zero", "attn.hook_z", layers=(12,), heads=(2, 5), name="heads 2 and 5 of layer 12 off")
    twice = Edit("scale", "attn.hook_z", layers=(20,), heads=(1,), value=2.0, name="head 1 of layer 20 doubled")
    window.context.tray.add(off)
    window.context.tray.add(twice)
    window.run_prompt()
    until(lambda: window.context.run.ended is None)
    until(lambda: window.context.run.ended is not None)
    window.context.cursor.pin(layer=12, head=2)
    window.go_on()
    window.worker.pause()
    until(lambda: window.context.run.where.state == "paused")
    window.debugging.run_to(21, "softmax")
    until(lambda: window.context.run.where.layer == 21 and window.complete)
    window.context.cursor.pin(layer=21, head=1, position=13)  # whose pass has ended
    for panel in ("edits", "attention"):
        window.workspace.bring_up(panel)
    window.workspace.docks["edits"].panel.buttons["compare"].setChecked(True)
    until(lambda: window.complete, rest=2.0)
    return window


def compared() -> Window:
    """Two branches, and what one differs from the other."""
    words = "--tokens 10 --temperature 0.7 --top-p 0.9 --seed 3 --theme dark --layout all"
    window = demo(words, "Once upon a time there was a king who had")
    run = window.context.run
    chosen = run.steps[1].piece.id
    other = next(int(id) for id in run.steps[1].sampling.ids.tolist() if int(id) != chosen)
    window.branching.branch_at(run.n_prompt + 1, other)
    until(lambda: len(window.context.run.tree.branches) == 2)
    window.go_on()
    until(lambda: window.context.run.ended is not None and not window.active)
    for deed, branch in (("A", 0), ("B", 1)):
        window.branching.do(deed, branch)
        until(lambda: window.complete)
    window.branching.show_side("A − B")
    window.workspace.bring_up("branches")
    until(lambda: window.complete, rest=2.0)
    return window


def projector() -> Window:
    """As the back row sees it."""
    words = "--size 1280x720 --tokens 12 --greedy --pause-at 12 --layer 12 --head 3"
    window = opened(words, "--model", str(real_gguf()), "--prompt", TOWER)
    window.projecting.project()
    until(lambda: window.context.run.where.layer == 12 and window.complete, rest=2.0)
    return window


PICTURES: dict[str, Callable[[], Window]] = {
    "focus-dark": focus,
    "stopped-dark": stopped,
    "grid-light": grid,
    "lens-dark": lens,
    "experts-dark": experts,
    "tensors-dark": tensors,
    "models-light": models,
    "debugger-dark": debugger,
    "compare-dark": compared,
    "projector": projector,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    application = QApplication([])
    for name in given.names or PICTURES:
        window = PICTURES[name]()
        assert window.grab().save(str(given.folder / f"{name}.png"))
        window.close()
        assert window.closed_in_time
        print(name, flush=True)
    del application


if __name__ == "__main__":
    main()
