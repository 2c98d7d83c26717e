"""Whose work a file is: a Python package's, Python's own, a package's of the system, this program's."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, distributions
from pathlib import Path

from resources.packaging.contents import NAME, ROOT

TEXT = re.compile(r"^(licen[cs]e|copying|notice|copyright|authors)", re.I)
# how classifiers and long names say it
KNOWN_NAMES = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True)
class Owner:
    """``licence``: an SPDX expression where one is given. ``texts``: licence files that came with it."""

    kind: str  # "Python package", "Python", "system library", "program"
    name: str
    version: str
    licence: str
    address: str = ""
    texts: tuple[Path, ...] = ()


def owners(sources: Iterable[Path]) -> tuple[list[Owner], list[Path]]:
    """Everyone whose files these are, each once, and the files that nobody owns."""
    known, of_package, rest = _distribution_files(), {}, []
    for path in {source.resolve() for source in sources}:
        if path in known:
            of_package[known[path].name] = known[path]
        elif ROOT not in path.parents:
            rest.append(path)
    of_others, unowned = system_owners(path for path in rest if not _is_pythons(path))
    of_package.pop(NAME, None)  # licences.py knows this program itself
    found = [python_owner(), *map(distribution_owner, of_package.values()), *of_others]
    return sorted(found, key=lambda owner: (owner.kind, owner.name.lower())), unowned


# ---- Python packages ---------------------------------------------------------------------------------------------


def distribution_owner(distribution: Distribution) -> Owner:
    data = distribution.metadata
    files = [Path(str(distribution.locate_file(file))) for file in distribution.files or []]
    texts = tuple(sorted(path for path in files if _is_text(path)))
    name, version = data["Name"], data["Version"]
    return Owner("Python package", name, version, licence_of(distribution), _address(distribution), texts)


def licence_of(distribution: Distribution) -> str:
    """The expression; else the field if it is a name and no whole text; else what the classifiers say."""
    data = distribution.metadata
    field = (_field(distribution, "License-Expression") or _field(distribution, "License")).strip()
    if field and "\n" not in field and len(field) < 100 and field != "UNKNOWN":
        return KNOWN_NAMES.get(field, field)
    named = [text.rpartition(" :: ")[2] for text in data.get_all("Classifier") or [] if text.startswith("License")]
    return " OR ".join(KNOWN_NAMES.get(name, name) for name in named) or "not said"


def _address(distribution: Distribution) -> str:
    urls = dict(text.split(", ", 1) for text in distribution.metadata.get_all("Project-URL") or [] if ", " in text)
    first = next((url for name, url in urls.items() if name.lower() in ("homepage", "source", "repository")), "")
    return _field(distribution, "Home-page") or first or next(iter(urls.values()), "")


def _field(distribution: Distribution, name: str) -> str:
    return next(iter(distribution.metadata.get_all(name) or []), "")


def _distribution_files() -> dict[Path, Distribution]:
    """Every installed file with its package; this program's are its own (owners() knows the tree)."""
    found: dict[Path, Distribution] = {}
    for distribution in distributions():
        for file in distribution.files or []:
            found.setdefault(Path(str(distribution.locate_file(file))).resolve(), distribution)
    return found


def _is_text(path: Path) -> bool:
    """A licence in the metadata of a package, or beside its code."""
    return bool(TEXT.match(path.name)) and path.suffix not in (".py", ".pyc", ".pyi") and path.is_file()


# ---- Python itself -----------------------------------------------------------------------------------------------


def python_owner() -> Owner:
    text = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    texts = (text,) if text.is_file() else ()
    return Owner("Python", "Python", platform.python_version(), "PSF-2.0", "https://www.python.org", texts)


def _is_pythons(path: Path) -> bool:
    """Below the standard library, or one of the libraries that Python was installed with."""
    library, base = Path(sysconfig.get_path("stdlib")).resolve(), Path(sys.base_prefix).resolve()
    with_python = base in path.parents and base not in (Path("/"), Path("/usr"))
    return library in path.parents or with_python or path.name.startswith("libpython")


# ---- packages of the system --------------------------------------------------------------------------------------


def system_owners(paths: Iterable[Path]) -> tuple[list[Owner], list[Path]]:
    """Those whose package the system can name (dpkg or rpm); the rest as it is."""
    found, unowned = set(), []
    for path in paths:
        owner = _debian_owner(path) or _rpm_owner(path)
        if owner is None:
            unowned.append(path)
        else:
            found.add(owner)
    return list(found), unowned


def _debian_owner(path: Path) -> Owner | None:
    for name in (str(path), str(path).removeprefix("/usr")):  # where / and /usr are one, either may be recorded
        said = _said("dpkg-query", "--search", name)
        if said:
            package = said.split(": ")[0]
            return _debian_package(package)
    return None


def _debian_package(package: str) -> Owner:
    version = _said("dpkg-query", "--show", "--showformat=${Version}", package)
    text = Path("/usr/share/doc") / package.split(":")[0] / "copyright"
    words = text.read_text(encoding="utf-8", errors="replace") if text.is_file() else ""
    licences = sorted(set(re.findall(r"^License:[ \t]*(\S.*)$", words, re.M)))
    owner = Owner("system library", package.split(":")[0], version, ", ".join(licences) or "see its text")
    return replace(owner, texts=(text, *_common_licences(words))) if words else owner


def _common_licences(words: str) -> Iterator[Path]:
    """A copyright file may only name a text that lies on every Debian, which others do not have."""
    names = sorted(set(re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", words)))
    yield from (path for name in names if (path := Path("/usr/share/common-licenses") / name).is_file())


def _rpm_owner(path: Path) -> Owner | None:
    said = _said("rpm", "--query", "--file", str(path), "--queryformat", "%{NAME}\t%{VERSION}\t%{LICENSE}\t%{URL}\n")
    if said.count("\t") < 3:
        return None
    name, version, licence, address = said.splitlines()[0].split("\t")
    texts = sorted(text for text in Path("/usr/share/licenses", name).glob("*") if text.is_file())
    return Owner("system library", name, version, licence, address, tuple(texts))


def _said(*command: str) -> str:
    """What a program prints; "" where it is not installed or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
