"""A film of the window in the making: a thread writes pictures through ffmpeg into an MP4 or GIF file. No widgets.

The film runs at PER_SECOND pictures a second: a picture stays until the next one, as it did on screen. What is written
lies beside the target until it is whole, and is removed where it is given up or goes wrong.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import IO, Literal

import psutil
from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QImage, QPainter

from app.provenance import to_lines

PER_SECOND = 10
MOST_WAITING = 4  # pictures between the window and the thread; while so many wait, no further ones are taken
NICENESS = 10  # of ffmpeg: the engine goes first
LONGEST_COMMENT = 4000  # letters, of what is handed over on a command line
QUIET = ("-hide_banner", "-loglevel", "error", "-nostdin", "-y")
TELLING = ("-progress", "pipe:1", "-stats_period", "0.25")  # how far it is, in lines
MISSING = (
    'Recording needs ffmpeg, which is not here: run pip install "fluoroscope[record]", or install ffmpeg itself, and '
    "start again."
)

State = Literal["recording", "finishing", "done", "given up", "failed"]

_MP4 = (
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20"),
    *("-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
)
_EXACT = ("-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0")  # until the colours of a GIF can be chosen
_PALETTE = ("-vf", "palettegen=stats_mode=full", "-frames:v", "1", "-c:v", "png", "-f", "image2pipe")
_USED = ("-lavfi", "paletteuse=dither=none:diff_mode=rectangle", "-f", "gif")
KINDS: dict[str, Sequence[str]] = {".mp4": _MP4, ".gif": _EXACT}  # how the film is kept while it is made


class RecordingError(Exception):
    """One sentence about a film that cannot be made."""


@dataclass(frozen=True)
class Progress:
    """``frames``: pictures taken; ``left_out``: not taken, since the thread was behind; ``seconds`` of film, ``bytes``
    of the file. While it is finished, ``completed`` of its ``film`` pictures are. ``sentence``: why it failed."""

    state: State
    frames: int = 0
    left_out: int = 0
    seconds: float = 0.0
    bytes: int = 0
    film: int = 0
    completed: int = 0
    sentence: str = ""


def find_ffmpeg() -> str:
    """The program of the optional extra, else one of this computer. Raises RecordingError where there is none."""
    with suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    found = shutil.which("ffmpeg")
    if found is None:
        raise RecordingError(MISSING)
    return found


class Recording:
    """One film. ``told`` is called in the thread whenever ``progress`` has a new state.

    Raises RecordingError where there is no ffmpeg, the folder cannot be written, or the kind of file is another one.
    """

    def __init__(self, path: Path, size: QSize, told: Callable[[], None] = lambda: None) -> None:
        if path.suffix.lower() not in KINDS:
            raise RecordingError(f"A recording is written as .mp4 or .gif, and not as {path.name}; choose one of them.")
        self.path, self._kind, self._told = path, path.suffix.lower(), told
        self._size = QSize(size.width() & ~1, size.height() & ~1)  # most players take even sizes only
        self._ffmpeg = find_ffmpeg()
        self.part = _reserve(path, ".part.mkv")
        self._pictures: queue.Queue[tuple[QImage | None, int]] = queue.Queue(MOST_WAITING + 1)  # the end has room
        self._facts: Mapping[str, str] = {}
        self._given_up = Event()
        self._process: subprocess.Popen | None = None
        self._taken = self._left_out = self._written = self._completed = 0
        self._last_tick = -1
        self.progress = Progress("recording")
        self._thread = Thread(target=self._work, name="fluoroscope-recording", daemon=True)
        self._thread.start()

    # ---- the window's thread ---------------------------------------------------------------------------------------

    def put(self, picture: QImage, seconds: float) -> bool:
        """Take a picture that was on screen so many seconds after the beginning; False where it is left out."""
        if self._pictures.qsize() >= MOST_WAITING or self.progress.state != "recording":
            self._left_out += 1
            return False
        self._last_tick = max(round(seconds * PER_SECOND), self._last_tick + 1)
        self._pictures.put_nowait((picture, self._last_tick))
        self._taken += 1
        return True

    def finish(self, seconds: float, facts: Mapping[str, str]) -> None:
        """No more pictures; the last one stays until now. The file is there once the state is "done"."""
        if self.progress.state == "recording":
            self._facts = facts
            self._pictures.put_nowait((None, max(round(seconds * PER_SECOND), self._last_tick + 1)))

    def give_up(self) -> None:
        """Leave no file."""
        self._given_up.set()
        with suppress(queue.Full):
            self._pictures.put_nowait((None, 0))
        if (process := self._process) is not None:
            process.kill()

    def wait(self, seconds: float) -> bool:
        """Whether the thread has ended within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # ---- its own thread --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._film()
            self._say("finishing")
            self._complete()
            self._say("done")
        except Exception as error:  # whatever it is, the window must be told that there is no film
            self.part.unlink(missing_ok=True)
            known = isinstance(error, RecordingError | OSError)
            words = (getattr(error, "strerror", None) or str(error)) if known else f"{type(error).__name__}: {error}"
            sentence = f"The recording {self.path.name} was not written: {words}."
            self._say("given up" if self._given_up.is_set() else "failed", sentence)

    def _film(self) -> None:
        width, height = self._size.width(), self._size.height()
        source = ("-f", "rawvideo", "-pix_fmt", "bgr0", "-s", f"{width}x{height}", "-r", str(PER_SECOND), "-i", "-")
        with tempfile.TemporaryFile() as log:
            kept = (*KINDS[self._kind], "-threads", "1", "-f", "matroska", str(self.part))
            process = self._start(*source, "-an", *kept, log=log)
            try:
                self._write(process)
            finally:
                with suppress(OSError):
                    process.stdin.close()  # type: ignore[union-attr]  # a pipe, as was asked for
                failed = process.wait() != 0
            self._check(failed, log)

    def _write(self, process: subprocess.Popen) -> None:
        """Each picture as often as the film shows it."""
        shown: QImage | None = None
        with suppress(BrokenPipeError, OSError):  # ffmpeg has ended: what it said of it is told
            while not self._given_up.is_set():
                picture, tick = self._pictures.get()
                if self._given_up.is_set():
                    return
                while shown is not None and self._written < tick:
                    process.stdin.write(shown.constBits())  # type: ignore[union-attr]
                    self._written += 1
                if picture is None:
                    return
                shown = fitted(picture, self._size)
                self._count()
        if not self._given_up.is_set():
            process.wait()

    def _complete(self) -> None:
        """The film as it was asked for, with what it is about, in its place."""
        whole, palette = self.part.with_suffix(self._kind), self.part.with_suffix(".png")  # its name is nobody else's
        try:
            if self._kind == ".gif":
                self._convert("-i", str(self.part), *_PALETTE, str(palette))
                self._convert("-i", str(self.part), "-i", str(palette), *_USED, str(whole))
                _add_comment(whole, self._facts)
            else:
                tags = (*_tags(self._facts), "-movflags", "+faststart")
                self._convert("-i", str(self.part), "-c", "copy", *tags, "-f", "mp4", str(whole))
            os.chmod(whole, 0o644)
            os.replace(whole, self.path)
        finally:
            for file in (whole, palette, self.part):
                file.unlink(missing_ok=True)

    def _convert(self, *arguments: str) -> None:
        with tempfile.TemporaryFile() as log:
            process = self._start(*TELLING, *arguments, log=log, out=subprocess.PIPE)
            with process:
                process.stdin.close()  # type: ignore[union-attr]  # a pipe, as was asked for
                for line in process.stdout:  # type: ignore[union-attr]
                    if (completed := line.removeprefix(b"frame=").strip()).isdigit() and line.startswith(b"frame="):
                        self._completed = int(completed)
                        self._say("finishing")
            self._check(process.returncode != 0, log)

    def _start(self, *arguments: str, log: IO[bytes], out: int = subprocess.DEVNULL) -> subprocess.Popen:
        hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows a console would come up
        command = [self._ffmpeg, *QUIET, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=log, creationflags=hidden)
        self._process = process
        if self._given_up.is_set():  # before there was anything to kill
            process.kill()
        if os.name == "posix":
            with suppress(psutil.Error):
                psutil.Process(process.pid).nice(NICENESS)
        return process

    def _check(self, failed: bool, log: IO[bytes]) -> None:
        """Raises RecordingError with what ffmpeg said last."""
        if self._given_up.is_set():
            raise RecordingError("it was given up")
        if failed:
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
            raise RecordingError(f"ffmpeg says “{lines[-1].strip():.200}”" if lines else "ffmpeg ended without a word")

    def _count(self) -> None:
        self.progress = self._progress("recording")

    def _say(self, state: State, sentence: str = "") -> None:
        self.progress = self._progress(state, sentence)
        self._told()

    def _progress(self, state: State, sentence: str = "") -> Progress:
        place = self.path if state == "done" else self.part
        size = place.stat().st_size if place.exists() else 0
        seconds = self._written / PER_SECOND
        return Progress(state, self._taken, self._left_out, seconds, size, self._written, self._completed, sentence)


def fitted(picture: QImage, size: QSize) -> QImage:
    """A picture of exactly this size in 32 bits a pixel without gaps; of another window size: as large as fits, on
    black."""
    picture = picture.convertToFormat(QImage.Format.Format_RGB32)
    picture.setDevicePixelRatio(1.0)
    spare = picture.size() - size
    if 0 <= spare.width() <= 1 and 0 <= spare.height() <= 1:
        return picture if spare.isNull() else picture.copy(QRect(QPoint(), size))
    scaled = picture.scaled(size, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
    whole = QImage(size, QImage.Format.Format_RGB32)
    whole.fill(Qt.GlobalColor.black)
    painter = QPainter(whole)
    painter.drawImage((size.width() - scaled.width()) // 2, (size.height() - scaled.height()) // 2, scaled)
    painter.end()
    return whole


def _reserve(path: Path, suffix: str) -> Path:
    """An empty file beside the target. Raises RecordingError where none can be made."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=suffix)
    except OSError as error:
        sentence = f"The folder {path.parent} cannot be written ({error.strerror}); choose another."
        raise RecordingError(sentence) from error
    os.close(handle)
    return Path(name)


def _tags(facts: Mapping[str, str]) -> list[str]:
    """What a player shows about the film."""
    text = "\n".join(to_lines(facts))[:LONGEST_COMMENT]
    return ["-metadata", f"title={facts.get('model', '')}", "-metadata", f"comment={text}"] if text else []


def _add_comment(gif: Path, facts: Mapping[str, str]) -> None:
    """A comment before the last byte, which ends the file (GIF89a, 24: blocks of up to 255 bytes)."""
    text = "\n".join(to_lines(facts)).encode()
    blocks = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    with gif.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        end = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(b"\x21\xfe" + blocks + b"\x00" + end)
