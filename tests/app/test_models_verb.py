"""``fluoroscope models``: what it prints, and that nothing that lies on the computer ends in a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app import models_rows, models_verb
from app.command_line import DEFAULT_CONTEXT, parse
from app.main import main
from app.models_csv import COLUMNS
from app.terminal import terminal_width
from engine.checkpoint import catalog as catalog_file
from engine.checkpoint import hub as hub_source
from engine.checkpoint import ollama, remote
from engine.checkpoint.catalog import catalog, entry
from engine.checkpoint.fits import Device, fits, largest_context
from engine.checkpoint.hub import HubModel
from engine.checkpoint.inventory import Inventory, inventory
from engine.checkpoint.source import HubId
from engine.errors import NetworkError
from tests.engine.tiny import tiny_llama

ROOT = Path(__file__).parents[2]
HERE = Device("cpu", "the CPU", 25 * 10**9, 32 * 10**9)
VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, a computer with 25 GB free."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setattr(Path, "home", lambda: place)
    monkeypatch.setattr(ollama, "OF_THE_SERVICE", ())
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models_rows, "processor", lambda: HERE)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def lm_studio(home: Path) -> Path:
    """A tiny Llama in LM Studio's folder."""
    folder = home / ".lmstudio" / "models" / "someone" / "tiny"
    tiny_llama(folder)
    return folder


def said(capsys: pytest.CaptureFixture, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the verb."""
    code = main(["models", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def rows(text: str) -> dict[str, dict[str, str]]:
    """Comma-separated values by the first column."""
    return {next(iter(row.values())): row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as a terminal, not as what is piped on."""
    monkeypatch.setattr(models_verb, "table_width", terminal_width)


def test_options() -> None:
    plain = parse(["models"])
    assert (plain.verb, plain.name, plain.context, plain.device, plain.dtype) == ("models", "", 4096, "cpu", "auto")
    assert plain.context == DEFAULT_CONTEXT
    options = parse(["models", "gpt2", "--context", "100", "--device", "cuda", "--dtype", "bfloat16", "--csv"])
    assert (options.name, options.context, options.device, options.dtype, options.csv) == (
        "gpt2",
        100,
        "cuda",
        "bfloat16",
        True,
    )
    assert parse(["models", "--search", "llama"]).search == "llama"
    for wrong in (["--context", "0"], ["--local", "--catalog"], ["--search", "x", "--local"], ["a", "b"]):
        with pytest.raises(SystemExit):
            parse(["models", *wrong])


# -- the catalog -----------------------------------------------------------------------------------------------------


def test_every_model_of_the_catalog_has_a_line(capsys: pytest.CaptureFixture) -> None:
    code, out, err = said(capsys, "--catalog")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    for known in catalog():
        assert known.licence in lines[known.name]
        assert ", ".join(known.shows) in lines[known.name]
    assert "25 GB of 32 GB memory are free on the CPU" in out
    assert "counted for 4,096 positions, or a model's own limit, as float32" in out
    assert "15.7B (2.66B)" in lines["deepseek-v2-lite"]
    assert "16/latent" in lines["deepseek-v2-lite"]
    assert "6 of 64 + shared" in lines["deepseek-v2-lite"]
    assert "built in" in lines["demo"]
    gated = lines["gated,"]
    assert "llama-3.2-1b" in gated
    assert "on this computer" not in out


def test_whether_each_fits_is_what_the_engine_says(capsys: pytest.CaptureFixture) -> None:
    _, out, _ = said(capsys, "--catalog", "--csv", "--context", "8000", "--dtype", "bfloat16")
    found = rows(out)
    assert tuple(next(iter(found.values()))) == COLUMNS
    assert list(found) == [known.name for known in catalog()]
    for known in catalog():
        row, fit = found[known.name], fits(known.config, known.parameters, 8000, HERE, "bfloat16")
        assert (int(row["parameters"]), int(row["active"])) == (known.parameters, known.active)
        assert (int(row["needed"]), row["fits"], row["computed_in"]) == (fit.needed, fit.verdict, "bfloat16")
        largest = largest_context(known.config, known.parameters, HERE, "bfloat16")
        assert (int(row["positions"]), int(row["largest_context"])) == (min(8000, known.config.n_ctx), largest)
        assert (row["gated"], row["here"]) == (str(known.gated), "built in" if known.built_in else "")
    assert {row["fits"] for row in found.values()} == {"fits", "tight", "does not fit"}


@pytest.mark.parametrize("columns", [40, 80, 100, 120, 300])
def test_the_table_fits_the_terminal(
    columns: int, terminal: None, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = said(capsys, "--catalog")
    lines = out.splitlines()
    assert max(map(len, lines)) <= min(max(columns, 80), 120)
    assert [line.split()[0] for line in lines if line.startswith(("demo", "deepseek-r1"))] == ["demo", "deepseek-r1"]
    (heading,) = [line for line in lines if line.startswith("name")]
    assert {"download", "parameters", "needs", "fits"} <= set(heading.split())
    assert ("shows" in heading) == (columns >= 100)


@pytest.mark.parametrize("columns", [80, 120])
def test_long_names_and_cards_fit_the_terminal(
    columns: int, terminal: None, lm_studio: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shutil.copytree(lm_studio, lm_studio.with_name("x" * 200))
    (lm_studio / "config.json").write_text('{"model_type": "mamba"}')
    for arguments in (["--local"], ["deepseek-r1"], ["llama-4-scout"]):
        _, out, _ = said(capsys, *arguments)
        assert max(map(len, out.splitlines())) <= columns


def test_what_was_fetched_is_here(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "cache" / "openai-community--gpt2" / ("a" * 40)
    tiny_llama(folder)
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    manifest = {"source": "openai-community/gpt2", "commit": "a" * 40, "model": ".", "files": files}
    (folder / "complete.json").write_text(str(manifest).replace("'", '"'))
    _, out, _ = said(capsys, "--csv", "--catalog")
    assert rows(out)["gpt2"]["here"] == "here"
    _, card, _ = said(capsys, "gpt2")
    assert "It is here: fluoroscope --model gpt2" in card


def test_a_damaged_catalog_is_said_and_the_rest_listed(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text("{")
    monkeypatch.setattr(catalog_file, "_folder", lambda: tmp_path)
    catalog_file._listed.cache_clear()
    code, out, err = said(capsys, "--catalog")
    catalog_file._listed.cache_clear()
    assert (code, len(err.splitlines())) == (1, 1)
    assert "bad.json" in err
    assert "\ndemo " in out


def test_values_that_fit_no_family_cost_their_own_row_only(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = json.loads((catalog_file._folder() / "gpt2.json").read_text())
    (tmp_path / "odd.json").write_text(json.dumps(row | {"config": row["config"] | {"n_embd": -1}}))
    monkeypatch.setattr(catalog_file, "_folder", lambda: tmp_path)
    catalog_file._listed.cache_clear()
    code, out, _ = said(capsys, "--catalog", "--csv")
    catalog_file._listed.cache_clear()
    assert code == 0
    assert rows(out)["odd"]["complaint"]
    assert not rows(out)["demo"]["complaint"]


# -- this computer ---------------------------------------------------------------------------------------------------


def test_nothing_on_this_computer(capsys: pytest.CaptureFixture) -> None:
    code, out, _ = said(capsys, "--local")
    assert code == 0
    assert out.splitlines()[-1].startswith("nothing in the caches of")
    assert "gpt2" not in out


def test_models_of_other_programs_are_measured(lm_studio: Path, capsys: pytest.CaptureFixture) -> None:
    _, out, err = said(capsys, "--local")
    (line,) = [line for line in out.splitlines() if line.startswith("someone/tiny")]
    assert "LM Studio" in line
    assert " 4/2 " in line
    assert err == ""
    _, out, _ = said(capsys, "--csv", "--local")
    (row,) = rows(out).values()
    assert (row["source"], row["origin"], row["layers"], row["kv_heads"]) == (str(lm_studio), "LM Studio", "3", "2")
    assert (row["fits"], row["licence"], row["shows"]) == ("fits", "", "dense; grouped-query")


def test_what_cannot_be_opened_is_listed_with_the_reason(
    home: Path, lm_studio: Path, capsys: pytest.CaptureFixture
) -> None:
    hostile = lm_studio.parent / "a\x1b[31m\nb"
    shutil.copytree(lm_studio, hostile)
    (hostile / "config.json").write_text('{"model_type": "mamba"}')
    (lm_studio.parent / "cut.gguf").write_bytes(b"GGUF")
    code, out, err = said(capsys, "--local")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert "someone/a\\x1b[31m\\nb (LM Studio): The model type 'mamba' is not supported" in out
    assert "cut (LM Studio): cut.gguf is not a sound GGUF file" in out.replace("\n  ", " ")
    assert "someone/tiny" in out


# -- one model -------------------------------------------------------------------------------------------------------


def test_the_card_of_a_model_of_the_catalog(capsys: pytest.CaptureFixture) -> None:
    code, out, err = said(capsys, "OLMoE-1B-7B", "--context", "1000")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert words.startswith("OLMoE-1B-7B: base, Apache-2.0, allenai/OLMoE-1B-7B-0924, published as bfloat16, 13.8 GB")
    assert "mixture of experts: a router sends each token to a few of many MLPs" in words
    assert "experts 64 top-k 8" in words
    assert "parameters 6,919,161,856 active per token 1,282,017,280" in words
    assert "prefill of 1,000 positions" in words
    assert [line.split()[-2] for line in out.splitlines() if line.startswith(("float32", "bfloat16"))] == ["no", "yes"]
    known = entry("olmoe-1b-7b")
    assert known is not None
    assert fits(known.config, known.parameters, 1000, HERE).sentence in words
    assert "fluoroscope fetch olmoe-1b-7b" in words


def test_the_card_of_a_folder(lm_studio: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, _ = said(capsys, lm_studio, "--context", "1000000")
    assert code == 0
    assert out.startswith("tiny: safetensors")
    assert "cache of 128 positions" in out  # the model's own limit
    assert f"fluoroscope --model {lm_studio}" in out


def test_the_card_of_what_cannot_be_loaded(lm_studio: Path, capsys: pytest.CaptureFixture) -> None:
    (lm_studio / "config.json").write_text('{"model_type": "mamba"}')
    code, out, err = said(capsys, lm_studio)
    assert code == 1
    assert "'mamba' is not supported" in out
    assert err.startswith("fluoroscope: The model type 'mamba'")


def test_the_card_of_a_model_on_the_hub_is_made_of_its_headers(
    lm_studio: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[HubId] = []

    def remote_inventory(hub: HubId) -> Inventory:
        asked.append(hub)
        return replace(inventory(lm_studio), name="some/model@v1", source="some/model@v1")

    monkeypatch.setattr(remote, "remote_inventory", remote_inventory)
    code, out, err = said(capsys, "some/model@v1")
    assert (code, err, asked) == (0, "", [HubId("some/model", "v1")])
    assert out.startswith("some/model@v1: safetensors F32, hub, ")
    assert "grouped-query: several query heads share one key and value head" in out
    assert out.splitlines()[-1] == "Get it: fluoroscope fetch some/model@v1"
    _, out, _ = said(capsys, "some/model@v1", "--csv")
    assert rows(out)["some/model@v1"]["here"] == ""


@pytest.mark.parametrize("name", ["nothing at all", "/no/such/path", ""])
def test_a_name_of_nothing_is_one_sentence_or_the_list(name: str, capsys: pytest.CaptureFixture) -> None:
    code, out, err = said(capsys, name)
    assert (code, len(err.splitlines())) == ((1, 1) if name else (0, 0))
    assert bool(out) == (not name)


def test_a_device_and_a_type_that_are_not_there(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_rows, "accelerators", lambda: (Device("cuda:0", "A GPU", 8 * 10**9, 9 * 10**9),))
    code, out, err = said(capsys, "--device", "mps")
    assert (code, out) == (1, "")
    assert err == "fluoroscope: The device 'mps' cannot be used on this computer; there are cpu, cuda:0.\n"
    for name in ("cuda", "cuda:0", "auto"):
        _, out, _ = said(capsys, "--catalog", "--device", name)
        assert "8 GB of 9 GB memory are free on A GPU" in out
        assert "as bfloat16" in out
    code, _, err = said(capsys, "--dtype", "int3")
    assert code == 1
    assert "'int3' is not known" in err


# -- the hub ---------------------------------------------------------------------------------------------------------


def listed(name: str, **more: object) -> HubModel:
    values: dict = {
        "downloads": 1234,
        "likes": 5,
        "gated": "",
        "licence": "mit",
        "updated": datetime(2025, 3, 4, tzinfo=UTC),
        "tags": ("a", "b"),
        "library": "transformers",
    }
    return HubModel(id=name, **(values | more))


def test_search_asks_the_hub(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def search(text: str, limit: int = 20, check=lambda: None) -> tuple[HubModel, ...]:
        asked.append(text)
        return (listed("some/model"), listed("evil/\x1b[31m", gated="manual", updated=None))

    monkeypatch.setattr(hub_source, "search", search)
    code, out, err = said(capsys, "--search", "some")
    assert (code, err, asked) == (0, "", ["some"])
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["some/model", "1,234", "5", "2025-03-04", "mit"],
        ["evil/\\x1b[31m", "1,234", "5", "yes", "mit"],
    ]
    _, out, _ = said(capsys, "--search", "some", "--csv")
    assert rows(out)["some/model"] == {
        "id": "some/model",
        "downloads": "1234",
        "likes": "5",
        "gated": "",
        "licence": "mit",
        "updated": "2025-03-04",
        "tags": "a; b",
    }


def test_a_search_without_a_result_or_a_network_is_one_sentence(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_source, "search", lambda text: ())
    assert said(capsys, "--search", "zz") == (1, "", "fluoroscope: The hub lists no model for 'zz'.\n")

    def fail(text: str) -> tuple[HubModel, ...]:
        raise NetworkError("The hub cannot be reached.")

    monkeypatch.setattr(hub_source, "search", fail)
    assert said(capsys, "--search", "zz") == (1, "", "fluoroscope: The hub cannot be reached.\n")


# -- as a program ----------------------------------------------------------------------------------------------------


def test_in_a_fresh_program_without_qt_and_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from app.main import main; main(['models']); main(['models', 'gpt2']); "
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'torch', 'PySide6', 'pyqtgraph', 'transformers'}))"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [[], ["--csv"], ["gpt2"]])
def test_a_reader_that_stops_reading_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "app.main", "models", "--device", "cpu", *arguments],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        env={**os.environ, "LC_ALL": "C"},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
