"""``python build_app.py``: a folder build of the program with all it needs, which is then tested elsewhere.

Takes a few minutes. Needs what ``pip install ".[build]"`` brings.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from resources.packaging import archive, checks, licences, sizes, trial
from resources.packaging.contents import INNER, NAME, ROOT, platform_name
from resources.packaging.freeze import freeze
from resources.packaging.icon import icon
from resources.packaging.prune import drop_orphans, prune
from resources.packaging.sources import bundled_sources


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, prune, list, pack, test; 1 and a sentence where a step refuses."""
    given = _parser().parse_args(arguments)
    try:
        if given.only_test is not None:
            test(given.only_test, given.check)
        else:
            build(given)
    except (licences.LicenceError, trial.TrialError, OSError) as error:
        print(f"build_app: {error}", file=sys.stderr)
        return 1
    return 0


def build(given: argparse.Namespace) -> None:
    """Everything, in order. Raises SystemExit with a sentence where it must not go on."""
    refuse(list(checks.complaints(given.cuda)))
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made, before = make(Path(scratch))
        target = given.output / made.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(made, target)
    pack = not (given.no_pack or given.check)
    packed = pack_up(target, given.output, given.threads) if pack else None
    weigh(target, before, packed, given.cuda)
    test(packed[0] if packed else target, given.check)
    say(f"built {target}")


def make(work: Path) -> tuple[Path, sizes.Parts]:
    """The pruned build with its licences, and the sizes before pruning."""
    say("building")
    made = freeze(work, icon(work))
    before = sizes.measure(made)
    say("pruning")
    inners = inner_folders(made)
    for inner in inners:
        prune(inner)
        if platform.system() == "Linux":
            drop_orphans(inner)
    say("collecting licences")
    listed = licences.collect(bundled_sources(work, inners), licence_folder(made))
    say(f"{len(listed)} packages and libraries, each with its licence")
    if platform.system() == "Darwin":  # what was removed broke the seal
        subprocess.run(["codesign", "--force", "--deep", "--sign", "-", str(made)], check=True)
    return made, before


def inner_folders(made: Path) -> tuple[Path, ...]:
    if made.suffix == ".app":
        return made / "Contents" / "Frameworks", made / "Contents" / "Resources"
    return (made / INNER,)


def licence_folder(made: Path) -> Path:
    folder = (made / "Contents" / "Resources" if made.suffix == ".app" else made) / licences.FOLDER
    folder.mkdir()
    return folder


def pack_up(target: Path, output: Path, threads: int) -> tuple[Path, sizes.Parts]:
    """The archive and its bytes by part."""
    say("packing")
    stem = f"{NAME}-{checks.project_version(ROOT)}-{platform_name()}"
    if platform.system() == "Linux":
        path = output / f"{stem}.tar.xz"
        return path, archive.pack_tar(target, path, threads)
    path = output / f"{stem}.zip"
    return path, archive.pack_zip(target, path)


def weigh(target: Path, before: sizes.Parts, packed: tuple[Path, sizes.Parts] | None, cuda: bool) -> None:
    """Print the table; refuse what is too large (a build for a graphics card has no budget)."""
    after = sizes.measure(target)
    print("\n".join(sizes.table(before, after, packed[1] if packed else None)))
    verdicts = sizes.verdicts(sum(after.values()), packed[0].stat().st_size if packed else None)
    for _, sentence in verdicts:
        say(sentence)
    if not cuda:
        refuse([sentence for fits, sentence in verdicts if not fits])


def test(target: Path, small: bool) -> None:
    """A folder, or an archive that is unpacked first. Raises TrialError."""
    say(f"testing {target}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = target if target.is_dir() else archive.unpack(target, Path(scratch))
        for line in trial.try_build(folder, small):
            say(line)


def refuse(sentences: list[str]) -> None:
    if sentences:
        raise SystemExit("\n".join(f"build_app: {sentence}" for sentence in sentences))


def say(text: str) -> None:
    """With the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:6.1f}] {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build_app.py", description=__doc__)
    parser.add_argument("--cuda", action="store_true", help="build for a graphics card; several gigabytes, no budget")
    parser.add_argument("--check", action="store_true", help="the smaller check: no packing, one self-test, no windows")
    parser.add_argument("--no-pack", action="store_true", help="leave the archive out")
    parser.add_argument("--only-test", type=Path, metavar="BUILD", help="test a folder or an archive built before")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="to pack with")
    return parser


BEGAN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
