"""Entry point. Qt is imported only once a window is wanted and everything that can be checked before was checked."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence

from app.command_line import Options, parse
from app.desktop import add_to_desktop, remove_from_desktop
from app.startup import display_complaint, give_streams, installed_complaint, library_complaint
from engine.errors import EngineError

OK, FAILED, NO_DISPLAY, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code. Errors are one sentence on stderr."""
    give_streams()
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
    if options.screenshot or (options.verb == "self-test" and display_complaint()):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    complaint = display_complaint() or library_complaint()
    if complaint:
        return _complain(complaint, NO_DISPLAY)
    from app.application import run_application

    return run_application(options)


def fetch(options: Options) -> int:
    """Download a model, or remove it; the other verbs need none of what this one imports."""
    from app.fetch_verb import fetch_model

    return fetch_model(options)


def inspect(options: Options) -> int:
    """Print what a model's files hold; imported when it is asked for, as above."""
    from app.inspect_verb import inspect_model

    return inspect_model(options)


def models(options: Options) -> int:
    """Print the models that are known or lie on this computer; imported when it is asked for, as above."""
    from app.models_verb import list_models

    return list_models(options)


def run(options: Options) -> int:
    """Run a prompt without a window and save the run; imported when it is asked for, as above."""
    from app.run_verb import run_and_save

    return run_and_save(options)


def _complain(sentence: str, code: int) -> int:
    print(f"fluoroscope: {sentence}", file=sys.stderr)
    return code


VERBS: dict[str, Callable[[Options], int]] = {
    "open": open_window,
    "fetch": fetch,
    "inspect": inspect,
    "models": models,
    "run": run,
    "self-test": open_window,
    "install-desktop": add_to_desktop,
    "uninstall-desktop": remove_from_desktop,
}

if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
