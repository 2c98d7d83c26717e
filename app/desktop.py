"""``--install-desktop``: menus, icon, the types of .gguf and .fluoro, for this user of a Linux desktop. No Qt here."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import resources
from app.command_line import Options
from engine.errors import EngineError

ID = "org.fluoroscope.Fluoroscope"
# file of the program -> where it goes, below the user's data folder
FILES = {
    f"desktop/{ID}.desktop": f"applications/{ID}.desktop",
    f"desktop/{ID}.metainfo.xml": f"metainfo/{ID}.metainfo.xml",
    f"desktop/{ID}.mime.xml": f"mime/packages/{ID}.xml",
    "icons/fluoroscope.svg": f"icons/hicolor/scalable/apps/{ID}.svg",
}
# what desktops look up instead of the files themselves, where the tool is installed
REFRESH = (("update-desktop-database", "applications"), ("update-mime-database", "mime"))
ICON_CACHE = "icons/hicolor/icon-theme.cache"
RESERVED = '"`$\\'  # escaped within a quoted argument of Exec


def add_to_desktop(options: Options) -> int:
    """Write the files and say which. Raises EngineError: no Linux, no command, or a file cannot be written."""
    _only_on_linux("--install-desktop")
    folder, command = data_folder(), program()
    for name, target in FILES.items():
        data = resources.path(name).read_bytes()
        _write(folder / target, with_command(data, command) if target.endswith(".desktop") else data)
        print(f"wrote {folder / target}")
    _refresh(folder)
    return 0


def remove_from_desktop(options: Options) -> int:
    """Remove those files, say which were there. Raises EngineError."""
    _only_on_linux("--uninstall-desktop")
    folder = data_folder()
    there = [folder / target for target in FILES.values() if (folder / target).is_file()]
    for path in there:
        _remove(path)
        print(f"removed {path}")
    if there:
        _refresh(folder)
    else:
        print(f"Nothing of Fluoroscope is in {folder}.")
    return 0


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """$XDG_DATA_HOME, which counts only where it is absolute, or ~/.local/share. Raises EngineError without a home."""
    given = Path(environment.get("XDG_DATA_HOME", ""))
    try:
        return given if given.is_absolute() else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise EngineError("There is no home folder to write to; name a data folder with XDG_DATA_HOME.") from error


def program() -> Path:
    """The file that starts the program that runs now. Raises EngineError where it is not installed as one."""
    beside = Path(sys.executable)
    found = beside if getattr(sys, "frozen", False) else beside.with_name("fluoroscope")
    if not found.is_file():
        raise EngineError(f"There is no command {found} that a menu could start; install Fluoroscope with pip first.")
    return found


def with_command(entry: bytes, command: Path) -> bytes:
    """The desktop entry with the program's own path in its Exec line."""
    lines = entry.decode().splitlines()
    return ("\n".join(_exec(line, command) if line.startswith("Exec=") else line for line in lines) + "\n").encode()


def _exec(line: str, command: Path) -> str:
    """Quoted as an argument, and that once more as a string of the file."""
    quoted = "".join(f"\\{c}" if c in RESERVED else c for c in str(command)).replace("%", "%%")
    rest = line.partition(" ")[2]
    return f'Exec="{quoted}" {rest}'.replace("\\", "\\\\")


def _only_on_linux(option: str) -> None:
    if platform.system() != "Linux":
        raise EngineError(f"{option} is for Linux desktops; {platform.system()} has its own way to install programs.")


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(data)
        os.replace(beside, path)  # a reader never sees half a file
    except OSError as error:
        raise EngineError(f"{path} could not be written: {error.strerror or error}.") from error


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise EngineError(f"{path} could not be removed: {error.strerror or error}.") from error


def _refresh(folder: Path) -> None:
    """A desktop without a tool looks at the files themselves, sooner or later."""
    commands = [(tool, folder / below) for tool, below in REFRESH if (folder / below).is_dir()]
    if (folder / ICON_CACHE).is_file():
        commands.append(("gtk-update-icon-cache", folder / ICON_CACHE.rpartition("/")[0]))
    for tool, place in commands:
        found = shutil.which(tool)
        if found is not None:
            subprocess.run([found, str(place)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
