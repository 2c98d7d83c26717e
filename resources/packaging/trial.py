"""Tests what was built: copied elsewhere, with an empty environment, no Python on the path, with and without X11."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.packaging.contents import NAME
from resources.packaging.small_gguf import write_small_gguf

# A line with any of these fails, whatever the exit code says.
BAD_LINES = (
    *("Traceback (most recent call last)", "ModuleNotFoundError", "ImportError", "FileNotFoundError", "Warning:"),
    *("could not load the Qt platform plugin", "no Qt platform plugin could be initialized", "QFontDatabase"),
    *("Could not find the Qt platform plugin", "cannot open shared object file", "while loading shared libraries"),
    *("Failed to execute script", "[PYI-", "Segmentation fault", "Aborted", "core dumped", "Unhandled exception"),
    *("QObject::", "QPainter::", "QWidget::", "qt.qpa", "qt.svg", "QPixmap", "QImage::", "Gtk-", "GLib-"),
    *("libEGL warning", "OMP: Error", "NotImplementedError", "install Fluoroscope again"),
)
WINDOW_S, TOKEN_S = 1.0, 5.0  # from the start of the process, warm
PATIENCE_S = 240.0
PICTURE = "picture.png"
RUN = "run.fluoro"
MODEL = "small.gguf"
Environment = dict[str, str]


@dataclass(frozen=True)
class Trial:
    """A start of the program, the code it must end with, and what it must say (to either stream).

    In ``arguments`` and ``writes`` the folder of the trial is the present one. ``writes``: a picture or run that it
    must leave.
    """

    name: str
    arguments: tuple[str, ...]
    says: str = ""
    code: int = 0
    writes: str = ""
    windows: bool = False  # again with real windows


TRIALS = (
    Trial("--version", ("--version",), "fluoroscope "),
    Trial("--help", ("--help",), "--self-test"),
    Trial("inspect demo", ("inspect", "demo"), "mixtral"),
    Trial("inspect a GGUF file", ("inspect", MODEL), "llama"),
    Trial("models", ("models", "--catalog"), "demo"),
    Trial("an unknown option", ("--nonsense",), "unrecognized arguments", code=2),
    Trial("a model that is not there", ("--model", "nothing/here.gguf", "--prompt", "x", "--screenshot", PICTURE),
          "nothing/here.gguf", code=1),
    Trial("fetch without a network", ("fetch", "nobody/nothing"), "fluoroscope: ", code=1),
    Trial("a picture of the demo model", ("--prompt", "12 + 30 =", "--tokens", "4", "--screenshot", PICTURE),
          writes=PICTURE),
    Trial("a picture of a GGUF file, in its chat template",
          (MODEL, "--chat", "--prompt", "hello", "--tokens", "4", "--screenshot", PICTURE), writes=PICTURE),
    Trial("a run without a window", ("run", "--prompt", "12 + 30 =", "--tokens", "4", "--record", RUN), writes=RUN),
    Trial("a picture of that run", (RUN, "--screenshot", PICTURE), writes=PICTURE),
    Trial("--install-desktop", ("--install-desktop",), "wrote "),
    Trial("--uninstall-desktop", ("--uninstall-desktop",), "removed "),
    Trial("--self-test", ("--self-test",), "self-test passed", windows=True),
)  # fmt: skip
LINUX_ONLY = ("--install-desktop", "--uninstall-desktop")
SMALL = ("--version", "--self-test")  # what the smaller check runs


class TrialError(Exception):
    """What was built does not work; the sentence says what was tried, and the end of what it said."""


def try_build(build: Path, small: bool = False, rounds: int = 5) -> Iterator[str]:
    """Copy the build and start it in every way; a line for each that works. Raises TrialError.

    ``small``: only the version and the self-test, without windows. ``rounds``: starts that are timed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch).resolve()
        program = executable(shutil.copytree(build, place / "elsewhere" / build.name, symlinks=True))
        write_small_gguf(place / MODEL)
        bare = bare_environment(place)
        for trial in trials(small):
            yield f"ok    {attempt(program, trial, place, bare | {'QT_QPA_PLATFORM': 'offscreen'})}"
        if small:
            return
        with display() as windows:
            for trial in (trial for trial in trials() if trial.windows):
                yield f"ok    {attempt(program, trial, place, bare | windows)} (with windows)"
            yield from timed(program, place, bare | windows, rounds)


def trials(small: bool = False, system: str = platform.system()) -> list[Trial]:
    here = [trial for trial in TRIALS if system == "Linux" or trial.name not in LINUX_ONLY]
    return [trial for trial in here if not small or trial.name in SMALL]


def executable(build: Path) -> Path:
    """The program inside a build."""
    if build.suffix == ".app":
        return build / "Contents" / "MacOS" / NAME
    return build / (f"{NAME}.exe" if (build / f"{NAME}.exe").exists() else NAME)


def bare_environment(place: Path) -> Environment:
    """What a session has at least; nothing is on the path, the hub is not to be reached."""
    for name in ("home", "path", "runtime"):
        (place / name).mkdir(mode=0o700)
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}  # Windows' own
    own = {"HOME": str(place / "home"), "PATH": str(place / "path"), "XDG_RUNTIME_DIR": str(place / "runtime")}
    return kept | own | {"LANG": "C.UTF-8", "HF_ENDPOINT": "http://127.0.0.1:9"}


def attempt(program: Path, trial: Trial, place: Path, environment: Mapping[str, str]) -> str:
    """Start it; the trial's name with the seconds it took. Raises TrialError."""
    began = time.monotonic()
    code, said = start(program, trial.arguments, place, environment)
    written = place / trial.writes
    for failure in (
        f"ended with {code} instead of {trial.code}" if code != trial.code else "",
        *(f"said {line!r}" for line in bad_lines(said)),
        f"did not say {trial.says!r}" if trial.says not in said else "",
        f"did not write {trial.writes}" if trial.writes and not is_whole(written) else "",
    ):
        if failure:
            raise TrialError(f"The build {failure} for: {trial.name}\n{said[-4000:]}")
    if trial.writes == PICTURE:  # a run is opened by the next trial
        written.unlink()
    return f"{time.monotonic() - began:6.2f} s  {trial.name}"


def start(
    program: Path, arguments: Sequence[str], place: Path, environment: Mapping[str, str]
) -> tuple[int | None, str]:
    """Its exit code (None where it hung and was ended) and what it said to both streams."""
    command = [str(program), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as hung:
        return None, (hung.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout.decode(errors="replace")


def bad_lines(said: str, markers: Sequence[str] = BAD_LINES) -> list[str]:
    return [line for line in said.splitlines() if any(marker in line for marker in markers)]


def is_whole(path: Path) -> bool:
    """Whether a picture or a run (a zip) was written."""
    begins = b"\x89PNG" if path.suffix == ".png" else b"PK\x03\x04"
    return path.is_file() and path.read_bytes().startswith(begins) and path.stat().st_size > 10_000


@contextmanager
def display() -> Iterator[Environment]:
    """A display for real windows: an X server of its own on Linux, the desktop elsewhere. Raises TrialError."""
    if platform.system() != "Linux":
        yield {}
        return
    server = shutil.which("Xvfb")
    if server is None:
        raise TrialError("There is no Xvfb to test with windows; install it: apt-get install xvfb")
    read, write = os.pipe()
    command = [server, "-displayfd", str(write), "-screen", "0", "1920x1200x24", "-nolisten", "tcp"]
    running = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number:
            yield {"DISPLAY": f":{number.readline().strip()}", "QT_QPA_PLATFORM": "xcb"}
    finally:
        running.terminate()
        running.wait()


def timed(program: Path, place: Path, environment: Mapping[str, str], rounds: int) -> Iterator[str]:
    """Median and range of what each self-test says about its start; how fast a machine is, is no fault of the build."""
    found = [marks(start(program, ("--self-test",), place, environment)[1]) for _ in range(rounds)]
    for name, most in (("window", WINDOW_S), ("token", TOKEN_S)):
        seconds = sorted(mark[name] for mark in found)
        middle = statistics.median(seconds)
        spread = f"{middle:.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}, {rounds} warm starts)"
        yield f"first {name} {spread}, target {most:.0f} s: {'reached' if middle <= most else 'MISSED'}"


def marks(said: str) -> dict[str, float]:
    """ "first window 0.43 s, first token 2.31 s" """
    found = {name: float(seconds) for name, seconds in re.findall(r"first (window|token) ([\d.]+) s", said)}
    if set(found) != {"window", "token"}:
        raise TrialError(f"The self-test does not say when its window and token came:\n{said[-2000:]}")
    return found
