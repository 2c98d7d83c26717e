"""What the program remembers between two starts: theme, text size, layout, recent models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from app.record_sizes import LEAST
from engine.settings import Record

VERSION = 1  # of the file; raise it when a key comes to mean something else
OLDER_LAYOUTS = (5, 4, 3, 2, 1)  # groups in which older versions kept the layout, the newest first
MOST_RECENT = 8
MOST_USED = 30  # commands that the palette lists first
LEAST_POINTS, MOST_POINTS, NORMAL_POINTS = 7.0, 32.0, 10.0
_DIGITS = 15  # of a size in bytes: a petabyte is more than any machine has


class Preferences:
    """Reads and writes the user's settings file; with ``kept`` False it remembers nothing and starts afresh."""

    def __init__(self, kept: bool = True) -> None:
        where = (QSettings.Format.IniFormat, QSettings.Scope.UserScope, "fluoroscope", "window")
        self._file = QSettings(*where) if kept else None
        self._own_layouts: dict[str, QByteArray] = {}
        self._was_reset = False  # nothing is written any more: it would not be as at first
        self._newer = self._put_newer_aside()

    def _put_newer_aside(self) -> str:
        """Settings of a newer program may mean something else; the sentence about them, "" where there are none."""
        if self._file is None:
            return ""
        found = str(self._file.value("version", 0))
        if not (found.isascii() and found.isdigit() and len(found) <= _DIGITS) or int(found) <= VERSION:
            return ""
        aside = Path(self._file.fileName()).with_name(f"window-version-{int(found)}.ini")
        try:
            shutil.copyfile(self._file.fileName(), aside)
        except OSError as error:
            self._was_reset = True  # they are used as far as they are understood, and left alone
            return f"A newer Fluoroscope wrote the settings, so they are not changed ({error.strerror or error})."
        self._file.clear()
        return f"A newer Fluoroscope wrote the settings, so they start afresh here; those are kept in {aside}."

    def reset(self) -> Path:
        """As at first from the next start on; the file that keeps those of now. Raises OSError where it cannot be."""
        assert self._file is not None, "there are settings"
        self._file.sync()
        if Path(self._file.fileName()).exists():
            shutil.copyfile(self._file.fileName(), self._before)
        self._file.clear()
        self._write_out()
        self._was_reset = True
        return self._before

    @property
    def can_reset(self) -> bool:
        return self._file is not None and not self._was_reset

    @property
    def can_bring_back(self) -> bool:
        """Whether there are settings from before a reset."""
        return self._file is not None and self._before.exists()

    def bring_back(self) -> None:
        """Those from before the last reset, in place of those of now. Raises OSError where they cannot be read or
        written; they are still kept then."""
        assert self._file is not None, "there are settings"
        before = QSettings(str(self._before), QSettings.Format.IniFormat)
        keys = before.allKeys()
        if before.status() != QSettings.Status.NoError:
            raise OSError(f"{self._before} is damaged")
        self._file.clear()
        for key in keys:
            self._file.setValue(key, before.value(key))
        self._write_out()
        self._before.unlink(missing_ok=True)
        self._was_reset = True  # what is on screen is not what was brought back

    def _write_out(self) -> None:
        assert self._file is not None, "there are settings"
        self._file.sync()
        if self._file.status() == QSettings.Status.AccessError:
            raise OSError(f"{self._file.fileName()} cannot be written")

    @cached_property
    def _before(self) -> Path:
        assert self._file is not None, "there are settings"
        return Path(self._file.fileName()).with_name("window-before.ini")

    def complaint(self) -> str | None:
        """The sentence about settings that cannot be kept, or that could not be read; None where all is well."""
        if self._file is None:
            return None
        if self._newer:
            return self._newer
        name, status = self._file.fileName(), self._file.status()
        if status == QSettings.Status.FormatError:
            return f"The settings in {name} are damaged, so what could not be read of them starts afresh."
        if status == QSettings.Status.AccessError or not self._file.isWritable():
            return f"Settings will not be remembered, because {name} cannot be written; check its folder."
        return None

    def look_again(self) -> None:
        """Read what other windows have written meanwhile, so that what is written next takes nothing of it away."""
        if self._file is not None:
            self._file.sync()

    def theme(self) -> str:
        """ "system" at first: as the desktop is."""
        return str(self._read("theme", "system"))

    def set_theme(self, name: str) -> None:
        self._write("theme", name)

    def depth(self) -> str:
        """How deep things are explained; whoever reads it knows which words mean something. "" at first."""
        return str(self._read("depth", ""))

    def set_depth(self, depth: str) -> None:
        self._write("depth", depth)

    def maps(self) -> tuple[str, str]:
        """The colour maps of what has one direction and of signed figures, by their keys in app/colour_maps.py."""
        return str(self._read("maps/sequential", "viridis")), str(self._read("maps/diverging", "usual"))

    def set_maps(self, sequential: str, diverging: str) -> None:
        self._write("maps/sequential", sequential)
        self._write("maps/diverging", diverging)

    def points(self) -> float:
        """Size of the text in points; a damaged file gives the normal size."""
        try:
            return min(MOST_POINTS, max(LEAST_POINTS, float(str(self._read("points", NORMAL_POINTS)))))
        except ValueError:
            return NORMAL_POINTS

    def set_points(self, points: float) -> None:
        self._write("points", points)

    def language(self) -> str:
        """A key of ``app/languages.py``, or "system"."""
        return str(self._read("language", "system"))

    def set_language(self, name: str) -> None:
        self._write("language", name)

    def recent(self) -> list[str]:
        """Sources of models, the latest first."""
        found = self._read("recent", [])
        sources = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        return [source for source in sources if isinstance(source, str) and source][:MOST_RECENT]

    def add_recent(self, source: str) -> None:
        self._write("recent", [source, *(other for other in self.recent() if other != source)][:MOST_RECENT])

    def model_folders(self) -> list[str]:
        """Where models are looked for beside the known places."""
        found = self._read("model_folders", [])
        folders = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        return [folder for folder in folders if isinstance(folder, str) and folder]

    def set_model_folders(self, folders: list[str]) -> None:
        self._write("model_folders", folders)

    def record(self) -> Record:
        """How much of a run is kept; what makes no sense in the file gives the setting of the first start."""
        first = Record()
        memory, beyond = str(self._read("record/memory", first.memory)), self._read("record/beyond", first.beyond)
        sound = memory.isascii() and memory.isdigit() and len(memory) <= _DIGITS and int(memory) >= LEAST
        return Record(int(memory) if sound else first.memory, "drop" if beyond == "drop" else "disk")

    def set_record(self, record: Record) -> None:
        self._write("record/memory", record.memory)
        self._write("record/beyond", record.beyond)

    def timeline(self) -> str:
        """What the timeline below the tokens shows; whoever reads it knows which words mean something."""
        return str(self._read("timeline", "all"))

    def set_timeline(self, choice: str) -> None:
        self._write("timeline", choice)

    def breakpoints(self) -> str:
        """As ``app/breakpoint_texts.py`` writes them; "" at first."""
        return str(self._read("breakpoints", ""))

    def set_breakpoints(self, text: str) -> None:
        self._write("breakpoints", text)

    def shortcuts(self) -> str:
        """As ``app/shortcuts.py`` writes them; "" while none is changed."""
        return str(self._read("shortcuts", ""))

    def set_shortcuts(self, text: str) -> None:
        self._write("shortcuts", text)

    def used_commands(self) -> list[str]:
        """What was called from the palette, the latest first."""
        return str(self._read("used_commands", "")).split("\n")[:MOST_USED]

    def set_used_commands(self, names: list[str]) -> None:
        self._write("used_commands", "\n".join(names[:MOST_USED]))

    def presenter_notes(self) -> str:
        """As ``app/presenter_notes.py`` writes them; "" at first."""
        return str(self._read("presenter/notes", ""))

    def set_presenter_notes(self, text: str) -> None:
        self._write("presenter/notes", text)

    def audience_panels(self) -> list[str]:
        """The keys of the panels that the audience sees; whoever reads them knows which there are. Empty at first."""
        return [key for key in str(self._read("presenter/panels", "")).split(" ") if key]

    def set_audience_panels(self, keys: Iterable[str]) -> None:
        self._write("presenter/panels", " ".join(keys))

    def audience_readable(self) -> bool:
        """Whether the audience sees panels in a shape in which the back row can read them."""
        return str(self._read("presenter/readable", "yes")) != "no"

    def set_audience_readable(self, readable: bool) -> None:
        self._write("presenter/readable", "yes" if readable else "no")

    def run_folder(self) -> str:
        """Where runs, pictures, films and tables were last saved to, or runs opened from; "" at first."""
        return str(self._read("run_folder", ""))

    def set_run_folder(self, folder: str) -> None:
        self._write("run_folder", folder)

    def layout(self) -> tuple[str, QByteArray] | None:
        """The name and the state of the layout that was last used, also by an older version."""
        for group in ("layout", *(f"layout/{version}" for version in OLDER_LAYOUTS)):
            name, state = str(self._read(f"{group}/name", "")), self._read(f"{group}/state", None)
            if name and isinstance(state, QByteArray):
                return name, state
        return None

    def set_layout(self, name: str, state: QByteArray) -> None:
        self._write("layout/name", name)
        self._write("layout/state", state)

    def saved_layouts(self) -> dict[str, QByteArray]:
        """The user's own layouts by name; what is damaged in the file is left out. Without a file, those of this
        session."""
        if self._file is None:
            return dict(self._own_layouts)
        try:
            found = json.loads(str(self._read("layouts", "{}")))
        except (ValueError, RecursionError):
            return {}
        texts = found if isinstance(found, dict) else {}
        known = {name: text for name, text in texts.items() if isinstance(text, str) and text.isascii()}
        return {name: QByteArray.fromBase64(text.encode()) for name, text in known.items()}

    def set_saved_layouts(self, layouts: Mapping[str, QByteArray]) -> None:
        self._own_layouts = dict(layouts)
        texts = {name: bytes(state.toBase64().data()).decode() for name, state in layouts.items()}
        self._write("layouts", json.dumps(texts))

    def geometry(self) -> QByteArray | None:
        found = self._read("geometry", None)
        return found if isinstance(found, QByteArray) else None

    def set_geometry(self, geometry: QByteArray) -> None:
        self._write("geometry", geometry)

    def _read(self, key: str, default: object) -> object:
        return default if self._file is None else self._file.value(key, default)

    def _write(self, key: str, value: object) -> None:
        if self._file is not None and not self._was_reset:
            self._file.setValue("version", VERSION)
            self._file.setValue(key, value)
