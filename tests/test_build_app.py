"""The build, part by part, on small folders: what is refused, what stays out, sizes, archives, licences, trials.

The whole takes minutes: ``python build_app.py``, and the smaller check in CI with FLUOROSCOPE_BUILD=1.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import tarfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

import build_app
import resources
from app.main import VERBS
from resources.packaging import archive, checks, contents, freeze, licences, owners, prune, sizes, sources, trial
from resources.packaging.icon import icon
from resources.packaging.small_gguf import write_small_gguf

MB = sizes.MB
CPU = {"__version__": "2.13.0+cpu", "cuda": None, "hip": None, "xpu": None}


def fill(folder: Path, *names: str, size: int = 10) -> Path:
    """Files with bytes of their own; a name with " -> " is a link."""
    for name in names:
        name, _, target = name.partition(" -> ")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        else:
            path.write_bytes(hashlib.sha256(name.encode()).digest()[:1] * size)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A build in small."""
    build = fill(
        tmp_path / "fluoroscope",
        "fluoroscope",
        "_internal/torch/lib/libtorch.so",
        "_internal/torch/test/test_all",
        "_internal/torch/bin/torch_shm_manager",
        "_internal/torch/bin/test_api",
        "_internal/torch/testing/__init__.py",
        "_internal/PySide6/Qt/lib/libQt6Core.so.6",
        "_internal/PySide6/Qt/translations/qtbase_de.qm",
        "_internal/PySide6/Qt/plugins/platforms/libqxcb.so",
        "_internal/PySide6/Qt/plugins/platforms/libqvnc.so",
        "_internal/libQt6Core.so.6 -> PySide6/Qt/lib/libQt6Core.so.6",
        "_internal/libonly_tests.so -> torch/test/test_all",
        "_internal/resources/demo_model/config.json",
        "_internal/numpy-2.dist-info/METADATA",
    )
    (build / "fluoroscope").chmod(0o755)
    return build


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in sizes.files(folder)}


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_this_environment_is_asked_about_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each complaint reaches the list, a bad pair of versions too."""
    found = {"PySide6-Essentials": "6.12.0", "pyqtgraph": "0.13.7", "pyinstaller": "5.1", "fluoroscope": "0"}
    monkeypatch.setattr(checks, "version", found.__getitem__)
    monkeypatch.setattr(checks, "torch_facts", lambda: CPU | {"cuda": "13.0", "__version__": "2.13.0+cu130"})
    monkeypatch.setattr(checks, "library_complaint", lambda environment: "libxcb-cursor.so.0 is missing")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    said = list(checks.complaints(cuda=False))
    for word in ("PySide6 6.12.0", "PyInstaller 5.1", "Fluoroscope 0 is installed", "2.13.0+cu130", "libxcb-cursor"):
        assert [sentence for sentence in said if word in sentence], said


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> str:
        raise checks.PackageNotFoundError(name)

    monkeypatch.setattr(checks, "version", gone)
    assert 'python -m pip install ".[build]"' in "\n".join(checks.complaints(cuda=False))


@pytest.mark.parametrize(
    ("facts", "cuda", "word"),
    [
        ({}, False, ""),
        ({"cuda": "12.8"}, True, ""),
        ({"cuda": "12.8"}, False, "--cuda"),
        ({"hip": "6.4"}, False, "hip"),
        ({}, True, "leave --cuda out"),
    ],
)
def test_torch_is_the_cpu_build_unless_asked(facts: dict, cuda: bool, word: str) -> None:
    said = checks.torch_complaint(CPU | facts, cuda)
    assert (said is None) == (not word)
    assert word in (said or "")


def test_torch_is_known_without_importing_it() -> None:
    code = "import sys; from resources.packaging.checks import torch_facts; print(torch_facts()['__version__']); "
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'torch' not in sys.modules"],
        cwd=contents.ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == distribution("torch").version


@pytest.mark.parametrize(("found", "good"), [("6.22.3", True), ("6.21.9", False), ("7.0", False), ("6.30", True)])
def test_pyinstaller_is_one_that_was_tested(found: str, good: bool) -> None:
    assert (checks.pyinstaller_complaint(found) is None) == good


def test_a_model_that_is_a_pointer_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    assert checks.model_complaint(weights) is not None
    weights.write_text("version 1\noid 3\n")
    assert checks.model_complaint(weights) is not None
    assert checks.model_complaint(resources.path("demo_model/model.safetensors")) is None


def test_refusing_ends_with_the_sentences() -> None:
    build_app.refuse([])
    with pytest.raises(SystemExit, match="build_app: one\nbuild_app: two"):
        build_app.refuse(["one", "two"])


# ---- what goes in ------------------------------------------------------------------------------------------------


def test_every_module_and_every_file_of_the_program_goes_in() -> None:
    modules, data = contents.modules(), {path.as_posix() for path in contents.data_files()}
    assert {"app", "app.main", "app.self_checks", "engine.families.mixtral", "app.panels.attention"} <= set(modules)
    assert not [name for name in modules if name.startswith(("tests", "resources", "build_app"))]
    for name in ("demo_model/model.safetensors", "demo_model/tokenizer.json", "demo_model/prompts.json",
                 "icons/fluoroscope.svg", "fonts/Inter-Regular.otf", "self_test.json",
                 "desktop/org.fluoroscope.Fluoroscope.desktop", "catalog/smollm2.json"):  # fmt: skip
        assert f"resources/{name}" in data
    assert not [name for name in data if name.endswith(".py") or "/packaging/" in name]


@pytest.mark.parametrize("system", ["Linux", "Windows", "Darwin"])
def test_the_options_are_fixed(tmp_path: Path, system: str) -> None:
    given = freeze.options(tmp_path, None, system=system)
    assert ("--windowed" if system == "Darwin" else "--console") in given
    assert ("--hide-console=hide-early" in given) == (system == "Windows")
    assert freeze.built(tmp_path, system).name == ("fluoroscope.app" if system == "Darwin" else "fluoroscope")
    assert {"--onedir", "--noconfirm", "--exclude-module=transformers", "--exclude-module=readline"} <= set(given)
    assert {"--copy-metadata=fluoroscope", "--copy-metadata=torch", "--hidden-import=app.window"} <= set(given)
    assert given[-1].endswith(os.path.join("app", "main.py"))
    assert ("--osx-bundle-identifier=org.fluoroscope.Fluoroscope" in given) == (system == "Darwin")


def test_what_the_program_needs_is_not_excluded() -> None:
    excluded = set(contents.EXCLUDED)
    assert not excluded & {*freeze.dependencies(), "PySide6.QtSvg", "PySide6.QtTest", "torch.distributed"}
    assert "torch>=2.9" not in freeze.dependencies()


@pytest.mark.parametrize(("system", "kind"), [("Windows", "ico"), ("Darwin", "icns")])
def test_each_system_gets_its_icon(tmp_path: Path, qapp, system: str, kind: str) -> None:
    from PySide6.QtGui import QImage

    drawn = icon(tmp_path, system)
    assert drawn is not None
    assert drawn.name == f"fluoroscope.{kind}"
    image = QImage(str(drawn))
    assert image.width() >= 256
    assert image.pixelColor(image.width() // 2, 12).alpha() > 0
    assert icon(tmp_path, "Linux") is None


# ---- pruning -----------------------------------------------------------------------------------------------------


def test_pruning_takes_what_is_listed_and_leaves_the_rest(made: Path) -> None:
    prune.prune(made / "_internal")
    left = names(made / "_internal")
    assert not [name for name in left if "test" in name.lower() or name.endswith(".qm") or "vnc" in name]
    assert {"torch/lib/libtorch.so", "torch/bin/torch_shm_manager", "PySide6/Qt/lib/libQt6Core.so.6"} <= left
    assert "libQt6Core.so.6" in left
    assert "libonly_tests.so" not in left, "a link to nothing"
    assert prune.prune(made / "_internal") == []


def test_orphans_are_what_nothing_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = fill(
        tmp_path, "PySide6/QtGui.so", "libQt6Gui.so.6", "libQt6Network.so.6", "libcairo.so.2", "libssl.so.3",
        "libpango-1.0.so.0", "libpython3.11.so.1", "libexpat.so.1", "_ffi.cpython-311.so", "libffi.so.8",
    )  # fmt: skip
    needs = {
        "QtGui.so": ["libQt6Gui.so.6"],
        "libQt6Gui.so.6": ["libpango-1.0.so.0"],
        "libQt6Network.so.6": ["libssl.so.3"],
        "libpython3.11.so.1": ["libexpat.so.1"],
        "_ffi.cpython-311.so": ["libffi.so.8"],
    }
    monkeypatch.setattr(prune, "needs", lambda path: needs.get(path.name, []))
    assert {path.name for path in prune.drop_orphans(inner)} == {"libQt6Network.so.6", "libssl.so.3", "libcairo.so.2"}
    assert {"libQt6Gui.so.6", "libpango-1.0.so.0", "libpython3.11.so.1", "libexpat.so.1"} <= names(inner)
    assert {"_ffi.cpython-311.so", "libffi.so.8"} <= names(inner)


@pytest.mark.skipif(sys.platform != "linux", reason="ELF files are read")
def test_what_a_library_needs_is_read() -> None:
    import PySide6

    needed = prune.needs(Path(PySide6.__file__).parent / "QtGui.abi3.so")
    assert "libQt6Gui.so.6" in needed


# ---- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("fluoroscope", "fluoroscope and the Python code"),
        ("licences/x/LICENSE", "licences"),
        ("_internal/libz.so.1", "libraries"),
        ("_internal/torch/lib/libtorch.so", "torch/lib"),
        ("_internal/torch/version.py", "torch"),
        ("_internal/PySide6/Qt/lib/a.so", "PySide6"),
        ("_internal/numpy-2.dist-info/METADATA", "metadata"),
        ("Contents/Frameworks/PySide6/Qt/lib/a.so", "PySide6"),
        ("Contents/MacOS/fluoroscope", "libraries"),
    ],
)
def test_every_file_belongs_to_a_part(path: str, name: str) -> None:
    assert sizes.part(Path(path)) == name


def test_the_table_adds_up(made: Path) -> None:
    fill(made, "_internal/torch/lib/large.so", size=3 * MB)
    fill(made, "_internal/torch/test/large", size=2 * MB)
    before = sizes.measure(made)
    prune.prune(made / "_internal")
    after = sizes.measure(made)
    assert sum(after.values()) == sum(path.lstat().st_size for path in sizes.files(made))
    table = sizes.table(before, after, {"torch/lib": MB})
    assert table[0].split() == ["MB", "before", "pruned", "packed"]
    assert [line.split() for line in table if line.startswith("torch/")] == [
        ["torch/lib", "3.0", "3.0", "1.0"],
        ["torch/test", "2.0", "0.0", "0.0"],
    ]
    assert table[-1].split() == ["together", "5.0", "3.0", "1.0"]


@pytest.mark.parametrize(
    ("unpacked", "packed", "fits", "words"),
    [
        (880, 213, [True, True], ["reached", "reached"]),
        (910, 240, [True, True], ["MISSED", "MISSED"]),
        (921, 251, [False, False], ["TOO LARGE", "TOO LARGE"]),
        (880, None, [True], ["reached"]),
    ],
)
def test_budgets(unpacked: int, packed: int | None, fits: list[bool], words: list[str]) -> None:
    found = sizes.verdicts(unpacked * MB, None if packed is None else packed * MB)
    assert [verdict for verdict, _ in found] == fits
    assert [sentence.rpartition(": ")[2] for _, sentence in found] == words


def test_a_build_that_is_too_large_is_refused_but_for_a_card(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "UNPACKED", (10, 20))
    before = sizes.measure(made)
    with pytest.raises(SystemExit, match="TOO LARGE"):
        build_app.weigh(made, before, None, cuda=False)
    build_app.weigh(made, before, None, cuda=True)


# ---- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tar.xz", "zip"])
def test_an_archive_keeps_links_rights_and_every_byte(made: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    packed = archive.pack_tar(made, path, 2) if kind == "tar.xz" else archive.pack_zip(made, path)
    assert set(sizes.measure(made)) <= set(packed)
    assert path.stat().st_size >= sum(packed.values())
    back = archive.unpack(path, tmp_path / "back")
    assert back.name == made.name
    assert names(back) == names(made)
    for name in names(made):
        one, other = made / name, back / name
        assert one.is_symlink() == other.is_symlink()
        if one.is_symlink():
            assert os.readlink(one) == os.readlink(other)
        else:
            assert one.read_bytes() == other.read_bytes()
            assert stat.S_IMODE(other.stat().st_mode) == (0o755 if name == "fluoroscope" else 0o644)


@pytest.mark.parametrize("kind", ["tar.xz", "zip"])
def test_the_same_files_make_the_same_archive(made: Path, tmp_path: Path, kind: str) -> None:
    made_of = []
    for number, threads in enumerate((1, 2)):
        path = tmp_path / f"{number}.{kind}"
        archive.pack_tar(made, path, threads) if kind == "tar.xz" else archive.pack_zip(made, path)
        made_of.append(path.read_bytes())
        os.utime(made / "fluoroscope", (number, number))
    assert made_of[0] == made_of[1]


def test_the_tar_is_one_for_every_tar(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long names, and blocks that cut a file: the tools of the system read it too."""
    monkeypatch.setattr(archive, "BLOCK", 64 * 1024)
    monkeypatch.setattr(archive, "CHUNK", 10_000)
    long = "_internal/" + "long/" * 40 + "name.py"
    fill(made, long)
    (made / "_internal/torch/lib/libtorch.so").write_bytes(os.urandom(300_001))
    path = tmp_path / "out.tar.xz"
    archive.pack_tar(made, path, 2)
    with tarfile.open(path) as file:
        assert {f"{made.name}/{name}" for name in names(made)} == set(file.getnames())
    (tmp_path / "system").mkdir()
    subprocess.run(["tar", "-xJf", str(path), "-C", str(tmp_path / "system")], check=True)
    back = tmp_path / "system" / made.name
    assert (back / long).is_file()
    assert (back / "_internal/torch/lib/libtorch.so").read_bytes() == (
        made / "_internal/torch/lib/libtorch.so"
    ).read_bytes()


# ---- licences ----------------------------------------------------------------------------------------------------


def test_what_is_inside_is_known_by_pyinstallers_records(tmp_path: Path) -> None:
    source = fill(tmp_path / "site", "here.so", "gone.so", "code.py")
    inner = fill(tmp_path / "dist", "here.so")
    records = fill(tmp_path / "made", "work/fluoroscope/x") / "work" / "fluoroscope"
    rows = [(name, str(source / name), "BINARY") for name in ("here.so", "gone.so")]
    rows += [("link.so", "here.so", "SYMLINK"), ("zip", str(records / "x"), "DATA")]
    (records / "COLLECT-00.toc").write_text(repr((rows,)))
    (records / "PYZ-00.toc").write_text(
        repr(("x.pyz", [("code", str(source / "code.py"), "PYMODULE"), ("ns", "-", "M")]))
    )
    found = sources.bundled_sources(tmp_path / "made", (inner,))
    assert [path.name for path in found] == ["code.py", "here.so"]


def test_files_are_given_to_their_owners() -> None:
    import jinja2
    import numpy

    code = [Path(jinja2.__file__), Path(numpy.__file__), Path(os.__file__), contents.ROOT / "app" / "main.py"]
    found, unowned = owners.owners(code)
    assert [(owner.kind, owner.name.lower()) for owner in found] == [
        ("Python", "python"), ("Python package", "jinja2"), ("Python package", "numpy"),
    ]  # fmt: skip
    assert unowned == []
    assert all(owner.texts and owner.licence for owner in found if owner.name != "Python")


def test_a_file_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    stray = fill(tmp_path, "stray.so") / "stray.so"
    with pytest.raises(licences.LicenceError, match=r"stray\.so"):
        licences.collect([stray], tmp_path / "licences")


def made_distribution(folder: Path, name: str) -> Distribution:
    """A package as pip leaves it, of which only the metadata and a licence are there."""
    data = folder / f"{name}-6.22.3.dist-info"
    data.mkdir(parents=True)
    (data / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 6.22.3\nLicense: GPL\n\n")
    (data / "COPYING.txt").write_text("terms")
    (data / "RECORD").write_text(f"{data.name}/METADATA,,\n{data.name}/COPYING.txt,,\n")
    return Distribution.at(data)


def test_texts_and_the_list_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jinja2
    import PySide6

    freezer = made_distribution(tmp_path / "site", "pyinstaller")  # only a build needs it: it may not be installed
    monkeypatch.setattr(licences, "distribution", lambda name: freezer)
    listed = licences.collect([Path(jinja2.__file__), Path(PySide6.__file__)], tmp_path)
    index = (tmp_path / licences.INDEX).read_text()
    for owner in listed:
        assert f"{owner.name} {owner.version}" in index
        assert owner.licence in index
    named = [
        line.strip().removesuffix(" *") for line in index.splitlines() if line.startswith("    ") and "://" not in line
    ]
    assert named
    assert all((tmp_path / name).is_file() for name in named)
    qt = [name for name in named if name.startswith("PySide6")]
    assert {name.split("/")[1] for name in qt} == {"LGPL-3.0.txt", "GPL-3.0.txt", "Qt-notice.txt"}
    for name in ("Fluoroscope's demo model", "Inter 4", "DejaVu 2.37", "Python ", "pyinstaller "):
        assert name in index
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in (tmp_path / qt[0]).parent.joinpath("LGPL-3.0.txt").read_text()


def test_a_package_without_a_known_licence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(licences.LicenceError, match="odd 1"):
        licences.with_texts(owners.Owner("Python package", "odd", "1", "My own"))


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License: BSD-3-Clause", "BSD-3-Clause"),
        ("License: " + "a whole text " * 20 + "\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("Classifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("Summary: nothing", "not said"),
    ],
)
def test_a_licence_is_read_from_the_metadata(tmp_path: Path, fields: str, licence: str) -> None:
    from importlib.metadata import Distribution

    folder = tmp_path / "odd-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: odd\nVersion: 1\n{fields}\n")
    assert owners.licence_of(Distribution.at(folder)) == licence


# ---- trials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "ModuleNotFoundError: No module named 'x'",
        "qt.qpa.plugin: Could not load the Qt platform plugin",
        "QPainter::begin: Paint device returned engine == 0",
        "/x/y.py:3: UserWarning: deprecated",
        "[PYI-123:ERROR] Failed to execute script 'main'",
        "libfoo.so.1: cannot open shared object file: No such file or directory",
    ],
)
def test_a_bad_line_is_found(line: str) -> None:
    assert trial.bad_lines(f"fine\n{line}\nfine") == [line]


def test_good_lines_are_good() -> None:
    assert trial.bad_lines("ok      0.31 s  the engine starts\nfluoroscope: error: unrecognized arguments: --x") == []


def stand_in(place: Path, script: str) -> Path:
    """A program that says and does what a test wants."""
    program = place / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("script", "one", "reason"),
    [
        ("echo fluoroscope 1", trial.Trial("t", (), "fluoroscope"), ""),
        ("echo no >&2; exit 1", trial.Trial("t", (), "no", code=1), ""),
        ("exit 3", trial.Trial("t", ()), "ended with 3 instead of 0"),
        ("echo ModuleNotFoundError >&2", trial.Trial("t", ()), "said 'ModuleNotFoundError'"),
        ("echo hello", trial.Trial("t", (), "goodbye"), "did not say 'goodbye'"),
        ("echo hello > p.png", trial.Trial("t", (), writes="p.png"), "did not write p.png"),
    ],
)
def test_a_trial_holds_or_says_why_not(tmp_path: Path, script: str, one: trial.Trial, reason: str) -> None:
    program = stand_in(tmp_path, script)
    if not reason:
        assert trial.attempt(program, one, tmp_path, {}).endswith("s  t")
        return
    with pytest.raises(trial.TrialError, match=reason):
        trial.attempt(program, one, tmp_path, {})


def test_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE_S", 0.3)
    program = stand_in(tmp_path, "echo began; exec /bin/sleep 60")
    with pytest.raises(trial.TrialError, match="ended with None"):
        trial.attempt(program, trial.Trial("t", ()), tmp_path, {})


def test_the_environment_is_bare(tmp_path: Path) -> None:
    bare = trial.bare_environment(tmp_path)
    assert {"HOME", "PATH", "XDG_RUNTIME_DIR", "LANG", "HF_ENDPOINT"} == set(bare) - {"TEMP", "TMP", "SYSTEMROOT"}
    assert list(Path(bare["PATH"]).iterdir()) == []


def test_the_build_is_copied_and_tried(made: Path, tmp_path: Path) -> None:
    """The smaller check, with a stand-in that looks at where it is."""
    script = (
        'case "$0" in */elsewhere/*) ;; *) exit 9;; esac; [ "$QT_QPA_PLATFORM" = offscreen ] || exit 8; '
        "echo fluoroscope 1; echo self-test passed"
    )
    stand_in(tmp_path, script).replace(made / "fluoroscope")
    assert [line.split("s  ")[1] for line in trial.try_build(made, small=True)] == list(trial.SMALL)


def test_starts_are_timed(tmp_path: Path) -> None:
    quick = stand_in(tmp_path, "echo first window 0.50 s, first token 2.00 s")
    assert list(trial.timed(quick, tmp_path, {}, 3)) == [
        "first window 0.50 s (0.50 to 0.50, 3 warm starts), target 1 s: reached",
        "first token 2.00 s (2.00 to 2.00, 3 warm starts), target 5 s: reached",
    ]
    slow = stand_in(tmp_path, "echo first window 0.50 s, first token 6.00 s")
    assert list(trial.timed(slow, tmp_path, {}, 1))[1].endswith("MISSED")
    with pytest.raises(trial.TrialError, match="does not say"):
        trial.marks("first window 0.5 s, no token")


def test_trials_cover_every_verb() -> None:
    tried = {each.arguments[0] for each in trial.trials(system="Linux")}
    assert set(VERBS) - {"open"} <= {word.removeprefix("--") for word in tried}
    assert "--install-desktop" not in {each.name for each in trial.trials(system="Windows")}


def test_the_small_gguf_runs(tmp_path: Path) -> None:
    import engine

    loaded = engine.load(write_small_gguf(tmp_path / "small.gguf"))
    session = engine.Session(loaded, sampling=engine.Sampling(greedy=True))
    session.begin("hello", chat=True)
    assert len(list(session.steps(3))) == 3


def test_failures_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fill(tmp_path / "fluoroscope", "fluoroscope")
    assert build_app.main(["--only-test", str(tmp_path / "fluoroscope"), "--check"]) == 1
    assert capsys.readouterr().err.startswith("build_app: ")
