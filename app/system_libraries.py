"""The libraries of a Linux desktop that Qt loads, and which package brings each. Imports no Qt."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """``name`` as Qt asks for it; the packages of Debian and Ubuntu, Fedora, Arch, openSUSE."""

    name: str
    debian: str
    fedora: str
    arch: str
    suse: str


def _xcb(name: str, util: str = "libxcb") -> Library:
    """Those of X11: Debian has a package for each, the others for several together."""
    stem, _, number = name.partition(".so.")
    debian = stem.removeprefix("lib").replace("xcb-", "libxcb-") + number
    fedora = "libxcb" if util == "libxcb" else f"xcb-util-{util}"
    return Library(name, debian, fedora, fedora, debian)


# What PySide6's QtCore, QtGui and QtWidgets ask for, with any platform.
ALWAYS = (
    Library("libEGL.so.1", "libegl1", "libglvnd-egl", "libglvnd", "libglvnd"),
    Library("libGL.so.1", "libgl1", "libglvnd-glx", "libglvnd", "libglvnd"),
    Library("libglib-2.0.so.0", "libglib2.0-0", "glib2", "glib2", "libglib-2_0-0"),
    Library("libdbus-1.so.3", "libdbus-1-3", "dbus-libs", "dbus", "libdbus-1-3"),
    Library("libfontconfig.so.1", "libfontconfig1", "fontconfig", "fontconfig", "fontconfig"),
    Library("libfreetype.so.6", "libfreetype6", "freetype", "freetype2", "libfreetype6"),
    Library("libxkbcommon.so.0", "libxkbcommon0", "libxkbcommon", "libxkbcommon", "libxkbcommon0"),
    Library("libX11.so.6", "libx11-6", "libX11", "libx11", "libX11-6"),
)
_XKB = "libxkbcommon-x11"
# What its platform plugin for X11 asks for beside these.
X11 = (
    Library("libxkbcommon-x11.so.0", "libxkbcommon-x11-0", _XKB, _XKB, "libxkbcommon-x11-0"),
    Library("libX11-xcb.so.1", "libx11-xcb1", "libX11-xcb", "libx11", "libX11-xcb1"),
    _xcb("libxcb-cursor.so.0", "cursor"),
    _xcb("libxcb-icccm.so.4", "wm"),
    _xcb("libxcb-image.so.0", "image"),
    _xcb("libxcb-keysyms.so.1", "keysyms"),
    _xcb("libxcb-randr.so.0"),
    _xcb("libxcb-render.so.0"),
    _xcb("libxcb-render-util.so.0", "renderutil"),
    _xcb("libxcb-shape.so.0"),
    _xcb("libxcb-shm.so.0"),
    _xcb("libxcb-sync.so.1"),
    _xcb("libxcb-xfixes.so.0"),
    _xcb("libxcb-xkb.so.1"),
)
# ID or ID_LIKE of /etc/os-release -> the column, and the command that installs
DISTRIBUTIONS: dict[str, tuple[str, str]] = {
    "debian": ("debian", "sudo apt-get install"),
    "ubuntu": ("debian", "sudo apt-get install"),
    "fedora": ("fedora", "sudo dnf install"),
    "rhel": ("fedora", "sudo dnf install"),
    "arch": ("arch", "sudo pacman -S"),
    "suse": ("suse", "sudo zypper install"),
    "opensuse": ("suse", "sudo zypper install"),
}


def loads(name: str) -> bool:
    """Whether the system finds a library and all that it needs itself."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def needed(environment: Mapping[str, str]) -> tuple[Library, ...]:
    """What Qt will load: the libraries of X11 only where it is sure to take that platform."""
    chosen = environment.get("QT_QPA_PLATFORM", "")
    takes_x11 = chosen.startswith("xcb") or (not chosen and not environment.get("WAYLAND_DISPLAY"))
    return (*ALWAYS, *X11) if takes_x11 else ALWAYS


def missing(libraries: Iterable[Library], found: Callable[[str], bool] = loads) -> list[Library]:
    return [library for library in libraries if not found(library.name)]


def sentence(libraries: Iterable[Library], system: Mapping[str, str]) -> str:
    """What is missing and the command that installs it here. ``system``: the values of /etc/os-release."""
    absent = list(libraries)
    names = ", ".join(library.name for library in absent)
    kinds = [kind.partition("-")[0] for kind in (system.get("ID", ""), *system.get("ID_LIKE", "").split())]
    known = next((DISTRIBUTIONS[kind] for kind in kinds if kind in DISTRIBUTIONS), None)
    verb = "is" if len(absent) == 1 else "are"
    if known is None:
        return f"Qt cannot open a window because {names} {verb} missing; install what brings it, then start again."
    column, command = known
    packages = " ".join(dict.fromkeys(str(getattr(library, column)) for library in absent))
    return f"Qt cannot open a window because {names} {verb} missing; install with: {command} {packages}"


def system_release() -> dict[str, str]:
    """The values of /etc/os-release; empty where there is none."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
