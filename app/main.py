"""Entry point. Qt is imported only once a window is wanted and everything that can be checked before was checked."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence

from app.command_line import Options, parse
from app.fetch_verb import fetch_model
from app.startup import display_complaint, installed_complaint
from engine.errors import EngineError

OK, FAILED, NO_DISPLAY, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code. Errors are one sentence on stderr."""
    try:
        options = parse(arguments)
        return VERBS[options.verb](options)
    except EngineError as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("Interrupted.", INTERRUPTED)


def open_window(options: Options) -> int:
    """Show the window until it is closed, or write the picture."""
    complaint = installed_complaint()
    if complaint:
        return _complain(complaint, FAILED)
    if options.screenshot:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    complaint = display_complaint()
    if complaint:
        return _complain(complaint, NO_DISPLAY)
    from app.application import run_application

    return run_application(options)


def inspect(options: Options) -> int:
    """Print what a model's files hold; the other verbs need none of what this one imports."""
    from app.inspect_verb import inspect_model

    return inspect_model(options)


def _complain(sentence: str, code: int) -> int:
    print(f"fluoroscope: {sentence}", file=sys.stderr)
    return code


VERBS: dict[str, Callable[[Options], int]] = {"open": open_window, "fetch": fetch_model, "inspect": inspect}

if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
