"""The walls of the house, by reading imports: who may know whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QT = ("PySide6", "pyqtgraph", "PyQt6", "PyQt5")
TORCH = ("torch", "transformers", "safetensors", "tokenizers", "huggingface_hub", "gguf")
PANELS = sorted(path for path in (ROOT / "app" / "panels").glob("*.py") if path.name not in ("__init__.py", "panel.py"))


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def crossing(path: Path, forbidden: tuple[str, ...]) -> list[str]:
    return [name for name in imports(path) if name.split(".")[0] in forbidden]


@pytest.mark.parametrize("path", sources("engine"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_knows_no_window(path: Path) -> None:
    assert crossing(path, (*QT, "app")) == []


@pytest.mark.parametrize("path", sources("app"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_window_knows_no_torch(path: Path) -> None:
    assert crossing(path, TORCH) == []


@pytest.mark.parametrize("path", PANELS, ids=lambda path: path.stem)
def test_panels_do_not_know_each_other(path: Path) -> None:
    others = {f"app.panels.{other.stem}" for other in PANELS if other != path}
    assert others.isdisjoint(imports(path))


@pytest.mark.parametrize("path", [*PANELS, *sources("app/widgets")], ids=lambda path: path.stem)
def test_panels_and_widgets_know_neither_worker_nor_window(path: Path) -> None:
    assert {"app.worker", "app.window", "app.mailbox", "app.board"}.isdisjoint(imports(path))


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after the code."""
    program = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import app.main",
        "import app.main; app.main.parse(['--model', 'x', '--prompt', 'y'])",
        "import app.fetch_verb, engine.checkpoint.fetch",
        "import app.mailbox, app.worker, app.downloads, app.backstage, app.shelf_rows",
        "import app.inspect_verb, engine.checkpoint.inventory",
        "import app.run_verb, engine.run_file_facts, engine.run_file_zip, engine.run_file_model",
    ],
)
def test_command_line_and_worker_load_neither_qt_nor_torch(code: str) -> None:
    assert loaded_by(code).isdisjoint({*QT, "torch", "transformers"})


def test_the_whole_window_loads_no_torch() -> None:
    assert "torch" not in loaded_by("import app.application")
