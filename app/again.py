"""Another process of this program: how it is started, with which words, and how it says that it is there. No Qt.

It begins with the session of a folder ``window-N``, which may still be used by the process that starts it: it writes a
file there once it could open its window, and waits until the folder is free.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from app.command_line import Options

READY, SAID = "next", "start.txt"  # in the folder: that the new process is there, and what it says on stderr
MOST_SAID = 2000  # letters of it that are told


def program() -> list[str]:
    """What starts this program, as it was started: from source, by its entry point, or packed."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    own = len(sys.argv) - 1  # words behind the program's name
    return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - own]]


def words(options: Options, number: int) -> list[str]:
    """The command line that goes on with the session of ``window-N``: with options that no session keeps."""
    values = {
        "window": number,
        "device": options.device,
        "dtype": options.dtype,
        "threads": options.threads,
        "theme": options.theme,
        "language": options.language,
        "record-memory": options.record_memory,
        "record-beyond": options.record_beyond,
    }
    named = [f"--{name}={value}" for name, value in values.items() if value is not None]
    modes = {"--projector": options.projector, "--safe-mode": options.safe_mode}
    return [*named, *(mode for mode, on in modes.items() if on)]


def start(command: Sequence[str], folder: Path) -> subprocess.Popen:
    """Raises OSError. The process outlives this one, and its terminal."""
    for name in (READY, SAID):  # the present program may still write to the one that it was started with
        (folder / name).unlink(missing_ok=True)
    with (folder / SAID).open("wb") as said:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=_environment(os.environ),
            start_new_session=True,
        )


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """A packed program is told that it is not a part of this one."""
    return {**own, "PYINSTALLER_RESET_ENVIRONMENT": "1"} if getattr(sys, "frozen", False) else dict(own)


def is_ready(folder: Path) -> bool:
    """Whether the new process waits for the folder."""
    return (folder / READY).exists()


def tell_ready(folder: Path) -> None:
    """By the new process. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / READY).write_text(str(os.getpid()), encoding="ascii")


def forget_ready(folder: Path) -> None:
    """By the new process, which has the folder now."""
    with suppress(OSError):
        (folder / READY).unlink()


def what_it_said(folder: Path) -> str:
    """The last line of a process that has ended, which is why it did; "" for none."""
    try:
        text = (folder / SAID).read_bytes()[-MOST_SAID:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("fluoroscope: ") if lines else ""
