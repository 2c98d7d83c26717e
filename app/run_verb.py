"""``fluoroscope run``: a run without a window, saved as a file that a window opens later. Imports no Qt."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.command_line import Options
from app.terminal import shown
from engine import threads
from engine.amounts import bytes_text
from engine.errors import SourceError
from engine.frames import ProgressFrame
from engine.run_file_facts import Beside, with_suffix
from engine.run_file_zip import check_target
from engine.settings import Record, Sampling

if TYPE_CHECKING:
    from engine.session import Step

LARGEST_PROMPT = 32_000_000  # bytes: four a character of the longest text that is encoded
REPORT_EVERY_S = 0.2


def run_and_save(options: Options) -> int:
    """Run the prompt, print the text as it is made, save the run; 0. Raises EngineError; then no file is left."""
    assert options.save is not None, "the command line asks for it"
    path = options.save if options.save.is_dir() else with_suffix(options.save)
    check_target(path)
    prompt = options.prompt if options.prompt_file is None else read_prompt(options.prompt_file)
    threads.prepare()
    import engine
    from engine.run_file_saving import save_run

    threads.set_threads(options.threads or threads.default_threads())
    report = Report()
    with report:
        loaded = engine.load(options.model or "", device=options.device, dtype=options.dtype, progress=report.load)
        session = engine.Session(loaded, _sampling(options, loaded.sampling), record=_record(options))
        steps = [_told(step, options, report) for step in session.generate(prompt, options.tokens, chat=options.chat)]
        beside = Beside(options.tokens, options.chat, steps[-1].finish or "limit")
        size = save_run(path, session, steps, beside, progress=report.save)
    print(f"saved {path} ({bytes_text(size)})", file=sys.stderr)
    return 0


def read_prompt(path: Path) -> str:
    """The text of a file, or of stdin for "-". Raises SourceError: it cannot be read, is too long, or is no text."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(LARGEST_PROMPT + 1)
        else:
            with path.open("rb") as file:
                data = file.read(LARGEST_PROMPT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"The prompt {path} cannot be read: {reason}.") from error
    if len(data) > LARGEST_PROMPT:
        raise SourceError(f"The prompt {path} has more than {bytes_text(LARGEST_PROMPT)}; shorten it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"The prompt {path} is no UTF-8 text; save it as such.") from error


def _sampling(options: Options, own: Sampling | None) -> Sampling:
    """The model's own defaults, but for what the command line sets: what the window would do."""
    given = {name: getattr(options.sampling, name) for name in options.sampling_given}
    return replace(own or Sampling(), **given)


def _record(options: Options) -> Record:
    first = Record()
    return Record(options.record_memory or first.memory, options.record_beyond or first.beyond)


def _told(step: Step, options: Options, report: Report):
    """Print what a step chose; its frame."""
    print_piece(step)
    report.step(step.index + 1, options.tokens)
    return step.frame()


def print_piece(step: Step) -> None:
    """A token's text on stdout. A terminal gets no control characters, a file the bytes as they are."""
    piece = step.piece
    if piece.special:
        return
    if sys.stdout.isatty():
        sys.stdout.write("".join(c if c in "\n\t" else shown(c) for c in piece.text))
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(piece.raw or piece.text.encode())
    else:
        sys.stdout.write(piece.text)
    sys.stdout.flush()


class Report:
    """One line on stderr that rewrites itself, where somebody watches it; a context manager that ends it.

    While the text itself goes to the same terminal, it is the report.
    """

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._text_shown = sys.stdout.isatty()
        self._began, self._last = time.monotonic(), 0.0
        self._open = self._saving = False

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._open or self._text_shown:
            print(file=sys.stderr)

    def load(self, frame: ProgressFrame) -> None:
        of = f" of {bytes_text(frame.total)}" if frame.total else ""
        self._line(f"{frame.text}: {bytes_text(frame.done)}{of}", whole=frame.done == frame.total)
        self._began = time.monotonic()

    def step(self, count: int, most: int) -> None:
        if not self._text_shown:
            rate = count / max(1e-9, time.monotonic() - self._began)
            self._line(f"token {count:,} of {most:,}, {rate:.1f} tokens/s", whole=count == most)

    def save(self, done: int, total: int) -> None:
        first, self._saving = not self._saving, True
        self._line(f"saving: {bytes_text(done)} of {bytes_text(total)}", whole=first or done == total)

    def _line(self, text: str, *, whole: bool) -> None:
        now = time.monotonic()
        if self._watched and (whole or now - self._last >= REPORT_EVERY_S):
            self._last, self._open = now, True
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
