"""What the program remembers between two starts: theme, text size, layout, recent models."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSettings

from app.record_sizes import LEAST
from engine.settings import Record

LAYOUT_VERSION = 5  # raise when docks are renamed or added: an older state is then forgotten
MOST_RECENT = 8
LEAST_POINTS, MOST_POINTS, NORMAL_POINTS = 7.0, 32.0, 10.0
_DIGITS = 15  # of a size in bytes: a petabyte is more than any machine has


class Preferences:
    """Reads and writes the user's settings file; with ``kept`` False it remembers nothing and starts afresh."""

    def __init__(self, kept: bool = True) -> None:
        where = (QSettings.Format.IniFormat, QSettings.Scope.UserScope, "fluoroscope", "window")
        self._file = QSettings(*where) if kept else None

    def complaint(self) -> str | None:
        """The sentence about settings that cannot be kept, or that could not be read; None where all is well."""
        if self._file is None:
            return None
        name, status = self._file.fileName(), self._file.status()
        if status == QSettings.Status.FormatError:
            return f"The settings in {name} are damaged, so what could not be read of them starts afresh."
        if status == QSettings.Status.AccessError or not self._file.isWritable():
            return f"Settings will not be remembered, because {name} cannot be written; check its folder."
        return None

    def theme(self) -> str:
        return str(self._read("theme", "dark"))

    def set_theme(self, name: str) -> None:
        self._write("theme", name)

    def points(self) -> float:
        """Size of the text in points; a damaged file gives the normal size."""
        try:
            return min(MOST_POINTS, max(LEAST_POINTS, float(str(self._read("points", NORMAL_POINTS)))))
        except ValueError:
            return NORMAL_POINTS

    def set_points(self, points: float) -> None:
        self._write("points", points)

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

    def run_folder(self) -> str:
        """Where runs were last saved to or opened from; "" at first."""
        return str(self._read("run_folder", ""))

    def set_run_folder(self, folder: str) -> None:
        self._write("run_folder", folder)

    def layout(self) -> tuple[str, QByteArray] | None:
        """The name and the state of the layout that was last used."""
        state = self._read(f"layout/{LAYOUT_VERSION}/state", None)
        name = str(self._read(f"layout/{LAYOUT_VERSION}/name", ""))
        return (name, state) if name and isinstance(state, QByteArray) else None

    def set_layout(self, name: str, state: QByteArray) -> None:
        self._write(f"layout/{LAYOUT_VERSION}/name", name)
        self._write(f"layout/{LAYOUT_VERSION}/state", state)

    def geometry(self) -> QByteArray | None:
        found = self._read("geometry", None)
        return found if isinstance(found, QByteArray) else None

    def set_geometry(self, geometry: QByteArray) -> None:
        self._write("geometry", geometry)

    def _read(self, key: str, default: object) -> object:
        return default if self._file is None else self._file.value(key, default)

    def _write(self, key: str, value: object) -> None:
        if self._file is not None:
            self._file.setValue(key, value)
