"""The licences of everything inside the build, and a list of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

from resources.packaging.checks import project_version
from resources.packaging.contents import ROOT
from resources.packaging.owners import Owner, distribution_owner, owners

FOLDER = "licences"
INDEX = "INDEX.txt"
TEXTS = Path(__file__).with_name("texts")  # for packages that come without their licence's text, by SPDX name
NOTICE = TEXTS / "Qt-notice.txt"
HEAD = """\
What is inside this build of Fluoroscope {version}, each with its version, its licence, where it comes from, and the
files in this folder that hold the licence's text. Texts marked with * did not come with the package: they are the
licence that its metadata names, in full.
"""


class LicenceError(Exception):
    """Something in the build cannot be shipped, because nobody knows on what terms."""


def collect(sources: Iterable[Path], folder: Path, root: Path = ROOT) -> list[Owner]:
    """Write every licence text and the list into ``folder``; what is listed.

    Raises LicenceError: a file belongs to nobody, or a package has no licence text and names none that is known.
    """
    found, unowned = owners(sources)
    if unowned:
        raise LicenceError(f"Nobody knows whose files these are: {', '.join(map(str, unowned[:5]))}.")
    listed = [*program_owners(root), distribution_owner(distribution("pyinstaller")), *found]
    lines = [HEAD.format(version=project_version(root))]
    for owner in {(owner.kind, owner.name): owner for owner in listed}.values():
        lines += _entry(owner, folder)
    (folder / INDEX).write_text("\n".join(lines), encoding="utf-8")
    return listed


def program_owners(root: Path = ROOT) -> list[Owner]:
    """This program, its model and its fonts."""
    version, fonts = project_version(root), root / "resources" / "fonts"
    inter, dejavu = (fonts / "Inter-LICENSE.txt",), (fonts / "DejaVu-LICENSE.txt",)
    licence, card = root / "LICENSE", root / "resources" / "demo_model" / "README.md"
    return [
        Owner("program", "Fluoroscope", version, "Apache-2.0", texts=(licence,)),
        Owner("model", "Fluoroscope's demo model", version, "Apache-2.0", texts=(licence, card)),
        Owner("font", "Inter", "4", "OFL-1.1", "https://rsms.me/inter", inter),
        Owner("font", "DejaVu", "2.37", "Bitstream-Vera", "https://dejavu-fonts.github.io", dejavu),
    ]


def with_texts(owner: Owner) -> tuple[Owner, bool]:
    """The owner with texts of the licences that it names, where it brought none; whether that was so."""
    if owner.texts:
        return owner, False
    named = [TEXTS / f"{_spdx(word)}.txt" for word in owner.licence.replace("(", " ").replace(")", " ").split()]
    texts = tuple(dict.fromkeys(path for path in named if path.is_file()))
    if not texts:
        raise LicenceError(
            f"{owner.name} {owner.version} ({owner.licence}) comes without the text of its licence; "
            f"add it to {TEXTS.relative_to(ROOT)}, named as its metadata names it."
        )
    return replace(owner, texts=(*texts, *_notices(owner))), True


def _spdx(word: str) -> str:
    return word.removesuffix("-only").removesuffix("-or-later")


def _notices(owner: Owner) -> tuple[Path, ...]:
    """The LGPL wants to be told of, with how to replace the library."""
    return (NOTICE,) if "PySide6" in owner.name else ()


def _entry(owner: Owner, folder: Path) -> list[str]:
    """Copy its texts; its lines of the list."""
    owner, named_only = with_texts(owner)
    own = folder / f"{owner.name} {owner.version}".replace("/", "-").replace(":", "-")
    own.mkdir(parents=True, exist_ok=True)
    names = [_copy(text, own, number) for number, text in enumerate(owner.texts)]
    star = " *" if named_only else ""
    files = [f"    {own.name}/{name}{star}" for name in names]
    head = f"{owner.name} {owner.version} ({owner.kind}): {owner.licence}"
    return [head, *([f"    {owner.address}"] if owner.address else []), *files, ""]


def _copy(text: Path, folder: Path, number: int) -> str:
    """Two texts of one name (a package's, and of what it contains) are told apart by a number."""
    name = text.name if not (folder / text.name).exists() else f"{text.stem}-{number}{text.suffix}"
    shutil.copyfile(text, folder / name)
    return name
