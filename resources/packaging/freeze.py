"""PyInstaller with one fixed set of options."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from resources.packaging.contents import EXCLUDED, HIDDEN, NAME, OPTIONAL, ROOT, data_files, modules

# The verbs print. Windows would open a console for a program that has one: it is hidden where nobody else is in it.
CONSOLE = {"Linux": ["--console"], "Windows": ["--console", "--hide-console=hide-early"], "Darwin": ["--windowed"]}


def freeze(work: Path, icon: Path | None = None, root: Path = ROOT) -> Path:
    """Build the folder below ``work``; its path. Raises SystemExit with PyInstaller's own last words."""
    done = subprocess.run(
        [sys.executable, "-m", "PyInstaller", *options(work, icon, root)],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    (work / "pyinstaller.log").write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        raise SystemExit("PyInstaller failed:\n" + "\n".join(done.stdout.splitlines()[-20:]))
    return built(work)


def built(work: Path, system: str = platform.system()) -> Path:
    """The folder that PyInstaller made; on macOS the program's bundle, which lies beside one."""
    return work / "dist" / (f"{NAME}.app" if system == "Darwin" else NAME)


def options(work: Path, icon: Path | None, root: Path = ROOT, system: str = platform.system()) -> list[str]:
    """The command line."""
    given = ["--noconfirm", "--clean", "--onedir", "--noupx", f"--name={NAME}", "--log-level=WARN"]
    given += [f"--distpath={work / 'dist'}", f"--workpath={work / 'work'}", f"--specpath={work}"]
    given += CONSOLE.get(system, CONSOLE["Linux"])
    given += [f"--icon={icon}"] if icon else []
    given += ["--osx-bundle-identifier=org.fluoroscope.Fluoroscope"] if system == "Darwin" else []
    given += [f"--paths={root}"]
    given += _contents(root)
    return [*given, str(root / "app" / "main.py")]


def dependencies(root: Path = ROOT) -> list[str]:
    """The names in pyproject.toml: versions are asked for while the program runs."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0] for text in project["dependencies"]]


def _contents(root: Path) -> Iterator[str]:
    yield from (f"--add-data={root / path}:{path.parent.as_posix()}" for path in data_files(root))
    optional = [name for name in OPTIONAL if find_spec(name) is not None]
    yield from (f"--hidden-import={name}" for name in (*modules(root), "resources", *HIDDEN, *optional))
    yield from (f"--copy-metadata={name}" for name in (NAME, *dependencies(root), *optional))
    yield from (f"--exclude-module={name}" for name in EXCLUDED)
