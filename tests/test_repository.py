"""The repository itself: its layout, README's commands, style, types, and a wheel that carries its resources."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MUST = {"pyproject.toml", "app", "engine", "resources", "tests", "README.md", "CHANGELOG.md", "LICENSE"}
MAY = {"build_app.py"}


def git_files() -> list[str]:
    """Tracked files, or every file of an exported tree without .git."""
    if not (ROOT / ".git").exists():
        made = {".venv", "venv", "build", "dist", "__pycache__"}
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        return [str(p) for p in found if not made & set(p.parts) and ".egg-info" not in str(p)]
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def readme_block(mark: str) -> str:
    found = re.findall(rf"^<!-- {mark} -->\n```\w+\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(found) == 1, f"README.md must have one block marked {mark!r}"
    return found[0]


def run(*command: str, **settings: str) -> str:
    """Run a command in the repository; its output. Fails the test, with the output, where the command fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_top_level_is_fixed() -> None:
    names = {Path(name).parts[0] for name in git_files()}
    visible = {name for name in names if not name.startswith(".")}
    assert visible >= MUST
    assert visible <= MUST | MAY


def test_nothing_generated_is_tracked() -> None:
    assert [name for name in git_files() if re.search(r"__pycache__|\.pyc$|\.egg-info|\.part$|\.gguf$", name)] == []


@pytest.mark.parametrize("mark", ["open command", "test command"])
def test_readme_commands_are_one_line_in_a_new_environment(mark: str) -> None:
    command = readme_block(mark)
    assert command.count("\n") == 1
    assert command.startswith("python3 -m venv ")
    assert "pip install" in command


def test_readme_commands_differ_in_their_environment() -> None:
    environments = {readme_block(mark).split()[3] for mark in ("open command", "test command")}
    assert len(environments) == 2


def test_readme_opens_the_installed_script() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    script = readme_block("open command").split("/")[-1].strip()
    assert script in project["scripts"]
    assert "test" in project["optional-dependencies"]


def test_ci_runs_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    definition = re.search(r"^test_command\(\) \{.*?^\}$", script.read_text(), re.M | re.S)
    assert definition
    assert run("bash", "-c", definition.group() + "\ntest_command") == readme_block("test command")
    run("bash", "-n", str(script))


def test_readme_pictures_exist() -> None:
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).is_file(), target


def test_readme_example_runs(smollm2_gguf: Path) -> None:
    example = readme_block("library example").replace("SmolLM2-135M-Instruct.Q4_1.gguf", str(smollm2_gguf))
    said = run(sys.executable, "-W", "error", "-c", example, OMP_NUM_THREADS="1")
    assert " Paris 0.7725" in said
    assert "blocks.3.attn.hook_pattern (1, 9, 5, 5)" in said


def test_readme_shell_examples_are_understood() -> None:
    from app.command_line import parse

    text = (ROOT / "README.md").read_text()
    lines = re.findall(r"^fluoroscope (.*?)(?:\s+#.*)?$", text, re.M)
    assert len(lines) >= 3
    import shlex

    for line in lines:
        parse(shlex.split(line))


def test_licence_is_whole() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_changelog_names_the_version_or_is_unreleased() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{project['version']}]" in text


def test_style_is_clean() -> None:
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")


def test_types_are_clean(tmp_path: Path) -> None:
    run(sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path))


def test_wheel_carries_what_the_program_needs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in git_files():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    run(*build)
    wheel = next(tmp_path.glob("fluoroscope-*.whl"))
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in git_files():
        if name.startswith(("resources/", "app/", "engine/")):
            assert name in inside, name
    assert not [name for name in inside if name.startswith("tests/")]
    assert [name for name in inside if name.endswith("licenses/LICENSE")]
    _read_from(wheel, tmp_path / "elsewhere")


def _read_from(wheel: Path, folder: Path) -> None:
    """The unpacked wheel, away from the checkout, finds its own resources."""
    zipfile.ZipFile(wheel).extractall(folder)
    code = (
        f"import resources; assert resources.__file__.startswith(r'{folder}'), resources.__file__; "
        "from PySide6.QtGui import QGuiApplication; application = QGuiApplication([]); "
        "import app.theme; app.theme.load_fonts(); print(app.theme.icon('run', app.theme.DARK).isNull()); "
        "import app.examples, engine.checkpoint.source as source; "
        "print(source.resolve('demo').path); print(len(app.examples.read_examples()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder), "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["False", str(folder / "resources" / "demo_model"), "4"]
