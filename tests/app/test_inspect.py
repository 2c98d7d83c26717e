"""``fluoroscope inspect``: what it prints, and that nothing it is given ends in a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.command_line import parse
from app.inventory_csv import COLUMNS
from app.main import main
from engine.checkpoint.inventory import inventory
from tests.engine.tiny import tiny_llama

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama of twelve layers that are alike."""
    found = tmp_path_factory.mktemp("inspect") / "tiny"
    tiny_llama(found, num_hidden_layers=12)
    return found


def said(capsys: pytest.CaptureFixture, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the verb."""
    code = main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_options() -> None:
    options = parse(["inspect", "m", "--csv", "--tensors", "--search", "x"])
    assert (options.verb, options.name, options.csv, options.tensors, options.search) == (
        "inspect",
        "m",
        True,
        True,
        "x",
    )
    assert not parse(["inspect", "m"]).tensors
    with pytest.raises(SystemExit):
        parse(["inspect"])


@pytest.mark.parametrize("columns", [40, 80, 100, 120, 300])
def test_the_page_fits_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = said(capsys, folder)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= min(max(columns, 80), 120)
    assert "layers 0-11, each " in out
    assert sum(line.startswith("W_Q ") for line in out.splitlines()) == 1
    assert "[n_heads·d_head, d_model]" in out


def test_the_figures_are_those_of_the_inventory(folder: Path, capsys: pytest.CaptureFixture) -> None:
    found = inventory(folder)
    _, out, _ = said(capsys, folder)
    for part in found.components:
        line = next(line for line in out.splitlines() if line.startswith(f"{part.name} "))
        assert f"{part.parameters:,}" in line
    assert f"{found.parameters:,}" in out
    assert "layers 12" in out
    assert "active" not in out  # every parameter is


def test_experts(capsys: pytest.CaptureFixture) -> None:
    found = inventory("demo")
    code, out, _ = said(capsys, "demo")
    assert code == 0
    (total,) = [line for line in out.splitlines() if line.startswith("total")]
    assert f"{found.parameters:,}" in total
    assert f"{found.active:,}" in total
    assert "W_gate x 8" in out
    assert "top-k 2" in out
    assert [line.split() for line in out.splitlines() if line.startswith("unembedding  ")] == [["unembedding", "tied"]]


def test_csv_has_every_tensor(folder: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, err = said(capsys, folder, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, err, tuple(rows[0])) == (0, "", COLUMNS)
    found = inventory(folder)
    assert [row["name"] for row in rows] == [entry.name for entry in found.entries]
    assert sum(int(row["parameters"]) for row in rows) == found.parameters
    assert sum(int(row["bytes"]) for row in rows) == found.size
    query = next(row for row in rows if row["name"] == "model.layers.10.self_attn.k_proj.weight")
    assert (query["role"], query["layer"], query["expert"]) == ("W_K", "10", "")
    assert (query["shape"], query["symbols"]) == ("16 32", "n_kv_heads·d_head d_model")


def test_tensors_and_search(folder: Path, capsys: pytest.CaptureFixture) -> None:
    _, out, _ = said(capsys, folder, "--tensors")
    for entry in inventory(folder).entries:
        assert entry.name in out  # piped on: whole names
    _, by_role, _ = said(capsys, folder, "--search", "w_q")
    assert len(by_role.splitlines()) == 1 + 12
    _, by_name, _ = said(capsys, folder, "--search", "Layers.3.", "--csv")
    assert {row["layer"] for row in csv.DictReader(io.StringIO(by_name))} == {"3"}
    code, out, err = said(capsys, folder, "--search", "nonsense")
    assert (code, out) == (1, "")
    assert err == "fluoroscope: No tensor of tiny has 'nonsense' in its name or role.\n"


def test_what_cannot_be_loaded_is_listed_and_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hostile = "a\x1b[31m\n\ud800"
    save_file({"plain": torch.ones(2)}, tmp_path / "model.safetensors")
    header = json.dumps({hostile: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    for way in ((), ("--tensors",), ("--csv",)):
        code, out, err = said(capsys, tmp_path, *way)
        assert code == 1
        assert "a\\x1b[31m\\n\\ud800" in out
        assert "\x1b" not in out
        assert err.startswith("fluoroscope: The model type 'mamba' is not supported")
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 40])
def test_an_unsound_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    began = time.monotonic()
    code, out, err = said(capsys, tmp_path / "m.gguf")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("fluoroscope: m.gguf is not a sound GGUF file")
    assert time.monotonic() - began < 5


def test_a_name_that_is_not_in_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    code, _, err = said(capsys, "smollm2")
    assert code == 1
    assert "fluoroscope fetch smollm2" in err


def test_in_a_fresh_program_without_qt_and_torch(smollm2_gguf: Path) -> None:
    code = (
        "import sys; from app.main import main; main(['inspect', 'demo']); main(['inspect', sys.argv[1]]); "
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'torch', 'PySide6', 'pyqtgraph', 'transformers'}))"
    )
    command = [sys.executable, "-c", code, str(smollm2_gguf)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "134,515,008" in done.stdout


def test_a_reader_that_stops_reading_is_no_error(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # closed before the first line: the program cannot be faster
    command = [sys.executable, "-m", "app.main", "inspect", str(folder), "--csv"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        env={**os.environ, "LC_ALL": "C"},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_the_dot(folder: Path) -> None:
    command = [sys.executable, "-m", "app.main", "inspect", str(folder)]
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "n_heads\\xb7d_head" in done.stdout
