"""Figures of tensors, read in slices, against numpy and torch on the whole; and files that are not as they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine import tensor_answers
from engine.answers import whole
from engine.checkpoint import values
from engine.checkpoint.files import OpenFiles
from engine.checkpoint.gguf_header import read_header as read_gguf_header
from engine.checkpoint.inventory import inventory
from engine.checkpoint.safetensors_file import read_header
from engine.checkpoint.stored import Origin, Stored, stamp, stored
from engine.frames import SingularValues, TensorFigures, Unreadable
from engine.questions import AskSingularValues, AskTensorBlock, AskTensorFigures, AskTensorHistogram
from tests.engine.families.oracle import Oracles

FIGURES = 1e-12  # relative: both sides compute in float64
SPECTRUM = 1e-7  # of the largest singular value: the roots of eigenvalues lose half the digits


def ask(question: Any) -> Any:
    return whole(tensor_answers.answering(question))


def of_safetensors(folder: Path, tensors: dict[str, Tensor], block: tuple[int, int] | None = None) -> Origin:
    path = folder / "model.safetensors"
    save_file(tensors, path)
    return Origin("safetensors", read_header(path), {path: stamp(path)}, block)


def of_gguf(folder: Path, tensors: dict[str, tuple[np.ndarray, GGMLQuantizationType]]) -> Origin:
    path = folder / "model.gguf"
    writer = GGUFWriter(path, "llama")
    for name, (numbers, kind) in tensors.items():
        if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            writer.add_tensor(name, numbers)
        else:
            writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Origin("GGUF", read_gguf_header(path).tensors, {path: stamp(path)})


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- one of each type: what is stored, and the numbers that it stands for, made by other means -------------------------

Made = tuple[Stored, np.ndarray]


def plain(dtype: torch.dtype) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        tensor = random(75, 96).to(dtype)
        return stored(of_safetensors(folder, {"w": tensor}), "w"), tensor.double().numpy()

    return make


def whole_numbers(folder: Path) -> Made:
    tensor = torch.arange(75 * 96, dtype=torch.int32).view(75, 96) - 1000
    return stored(of_safetensors(folder, {"w": tensor}), "w"), tensor.double().numpy()


def fp8(folder: Path) -> Made:
    tensor, scale = random(75, 96).to(torch.float8_e4m3fn), random(5, 3, seed=1).abs()
    spread = scale.double().repeat_interleave(16, 0)[:75].repeat_interleave(32, 1)[:, :96]
    origin = of_safetensors(folder, {"w": tensor, "w_scale_inv": scale}, (16, 32))
    return stored(origin, "w"), (tensor.double() * spread).numpy()


def mxfp4(folder: Path) -> Made:
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (3, 10, 2, 16), dtype=np.uint8)
    exponents = generator.integers(120, 131, (3, 10, 2), dtype=np.uint8)
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
    numbers = np.stack([table[blocks & 15], table[blocks >> 4]], -1).reshape(3, 10, 2, 32)
    numbers = (numbers * 2.0 ** (exponents[..., None].astype(float) - 127)).reshape(3, 10, 64).swapaxes(1, 2)
    tensors = {"w_blocks": torch.from_numpy(blocks), "w_scales": torch.from_numpy(exponents)}
    return stored(of_safetensors(folder, tensors), "w_blocks"), numbers


def quantised(kind: GGMLQuantizationType) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        numbers = random(75, 96).numpy()
        packed = gguf.quants.quantize(numbers, kind)
        origin = of_gguf(folder, {"w": (numbers, kind)})
        return stored(origin, "w"), gguf.quants.dequantize(packed, kind).astype(np.float64)

    return make


KINDS: dict[str, Callable[[Path], Made]] = {
    "F64": plain(torch.float64),
    "F32": plain(torch.float32),
    "F16": plain(torch.float16),
    "BF16": plain(torch.bfloat16),
    "I32": whole_numbers,
    "FP8": fp8,
    "MXFP4": mxfp4,
    "Q8_0": quantised(GGMLQuantizationType.Q8_0),
    "Q4_1": quantised(GGMLQuantizationType.Q4_1),
    "Q5_0": quantised(GGMLQuantizationType.Q5_0),
    "GGUF BF16": quantised(GGMLQuantizationType.BF16),
}


def check_figures(found: TensorFigures, numbers: np.ndarray) -> None:
    finite = numbers[np.isfinite(numbers)]
    assert found.count == numbers.size
    assert found.nans == np.isnan(numbers).sum()
    assert found.infinities == np.isinf(numbers).sum()
    assert found.zeros == (finite == 0).sum()
    expected = {
        "low": finite.min(),
        "high": finite.max(),
        "mean": finite.mean(),
        "deviation": finite.std(),
        "peak": np.abs(finite).max(),
        "norm": np.sqrt((finite**2).sum()),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=FIGURES, abs=1e-13), name


def check_histogram(tensor: Stored, matrix: int | None, numbers: np.ndarray, bins: int = 37) -> None:
    finite = numbers[np.isfinite(numbers)]
    found = ask(AskTensorHistogram(tensor, matrix, float(finite.min()), float(finite.max()), bins))
    counts, edges = np.histogram(finite, bins, (finite.min(), finite.max()))
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(found.edges, edges, rtol=1e-15)
    assert found.counts.sum() == finite.size


@pytest.mark.parametrize("value", [0.0, 65504.0, -3.4028234663852886e38, 2.0**62, 1.7976931348623157e308])
def test_bins_around_one_number_have_edges_of_their_own(value: float) -> None:
    edges = tensor_answers.bin_edges(value, value, 128)
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= value <= edges[-1]


def blocks_of(numbers: np.ndarray, high: int, wide: int, reduce: Callable[[np.ndarray], float]) -> np.ndarray:
    rows, columns = numbers.shape
    return np.array(
        [
            [reduce(numbers[row : row + high, column : column + wide]) for column in range(0, columns, wide)]
            for row in range(0, rows, high)
        ]
    )


REDUCED: dict[str, Callable[[np.ndarray], float]] = {
    "rms": lambda part: float(np.sqrt((part**2).mean())),
    "means": lambda part: float(part.mean()),
    "peaks": lambda part: float(np.abs(part).max()),
}


@pytest.mark.parametrize("size", [2**18, 500, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_figures_of_every_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int) -> None:
    monkeypatch.setattr(values, "SLICE", size)
    tensor, numbers = KINDS[kind](tmp_path)
    assert tensor.shape == numbers.shape
    matrix = 2 if numbers.ndim == 3 else 0
    chosen = numbers[matrix] if numbers.ndim == 3 else numbers
    found = ask(AskTensorFigures(tensor, matrix, most=16))
    assert isinstance(found, TensorFigures)
    check_figures(found, chosen)
    check_histogram(tensor, matrix, chosen)
    for name, reduce in REDUCED.items():
        expected = blocks_of(chosen, *found.block, reduce)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12, atol=1e-14, err_msg=name)
        assert max(expected.shape) <= 16
    assert found.source == "read from the file"


@pytest.mark.parametrize("size", [2**18, 64])
@pytest.mark.parametrize("kind", ["F32", "BF16", "FP8", "MXFP4", "Q8_0", "Q4_1"])
def test_a_rectangle_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int) -> None:
    monkeypatch.setattr(values, "SLICE", size)
    tensor, numbers = KINDS[kind](tmp_path)
    chosen = numbers[1] if numbers.ndim == 3 else numbers
    last = chosen.shape[1]
    for rows, columns in (((3, 9), (2, 10)), ((4, 5), (7, 8)), ((0, 10), (0, last)), ((0, 3), (last - 5, last))):
        found = ask(AskTensorBlock(tensor, 1 if numbers.ndim == 3 else 0, rows, columns))
        part = chosen[slice(*rows), slice(*columns)]
        assert (found.low, found.high) == (part.min(), part.max())
        assert abs(found.peak) == np.abs(part).max()
        assert chosen[found.row, found.column] == found.peak
        assert rows[0] <= found.row < rows[1]
        assert columns[0] <= found.column < columns[1]


@pytest.mark.parametrize("size", [2**18, 300])
def test_a_pile_of_matrices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(values, "SLICE", size)
    pile = random(2, 3, 20, 30)
    tensor = stored(of_safetensors(tmp_path, {"w": pile}), "w")
    assert tensor.matrices == (6, 20, 30)
    numbers = pile.double().numpy()
    check_figures(ask(AskTensorFigures(tensor, 4)), numbers[1, 1])
    together = ask(AskTensorFigures(tensor, None))
    check_figures(together, numbers)
    assert together.rms.size == 0
    check_histogram(tensor, None, numbers)
    spectrum = ask(AskSingularValues(tensor, 5)).values
    np.testing.assert_allclose(spectrum, np.linalg.svd(numbers[1, 2], compute_uv=False), atol=SPECTRUM * spectrum[0])
    refused = ask(AskTensorFigures(tensor, 6))
    assert isinstance(refused, Unreadable)
    assert refused.sentence == "w has no matrix 6; it has 0 to 5."


@pytest.mark.parametrize("size", [2**18, 50])
@pytest.mark.parametrize("shape", [(), (1,), (700,), (1, 700), (700, 1)])
def test_scalars_and_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], size: int
) -> None:
    monkeypatch.setattr(values, "SLICE", size)
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    kept = stored(of_safetensors(tmp_path, {"w": tensor}), "w")
    numbers = tensor.double().numpy()
    found = ask(AskTensorFigures(kept, 0, most=8))
    check_figures(found, numbers)
    check_histogram(kept, 0, numbers)
    rows, columns = kept.matrices[1:]
    assert found.rms.shape == (-(-rows // found.block[0]), -(-columns // found.block[1]))


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (0, 3, 4)])
@pytest.mark.parametrize("matrix", [0, None])
def test_nothing_has_no_figures(tmp_path: Path, shape: tuple[int, ...], matrix: int | None) -> None:
    tensor = stored(of_safetensors(tmp_path, {"w": torch.zeros(shape)}), "w")
    found = ask(AskTensorFigures(tensor, matrix))
    assert (found.count, found.finite, found.rms.size) == (0, 0, 0)
    assert np.isnan([found.low, found.high, found.mean, found.deviation, found.peak, found.norm]).all()
    assert ask(AskTensorHistogram(tensor, matrix, 0.0, 1.0)).counts.sum() == 0


@pytest.mark.parametrize("size", [2**18, 64])
def test_what_is_not_finite_is_counted_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(values, "SLICE", size)
    tensor = random(30, 40)
    tensor[3, 5], tensor[7, 8], tensor[29, 39], tensor[0, :4] = torch.nan, torch.inf, -torch.inf, 0.0
    kept = stored(of_safetensors(tmp_path, {"w": tensor}), "w")
    numbers = tensor.double().numpy()
    found = ask(AskTensorFigures(kept, 0, most=10))
    check_figures(found, numbers)
    assert (found.nans, found.infinities, found.zeros) == (1, 2, 4)
    check_histogram(kept, 0, numbers)
    assert {tuple(place) for place in np.argwhere(~np.isfinite(found.rms)).tolist()} == {(1, 1), (2, 2), (9, 9)}
    block = ask(AskTensorBlock(kept, 0, (3, 6), (4, 8)))
    part = numbers[3:6, 4:8]
    assert (block.low, block.high) == (np.nanmin(part), np.nanmax(part))
    assert "not finite" in ask(AskSingularValues(kept, 0)).sentence
    nothing = stored(of_safetensors(tmp_path, {"w": torch.full((3, 3), torch.nan)}), "w")
    assert ask(AskTensorFigures(nothing, 0)).finite == 0
    assert np.isnan(ask(AskTensorBlock(nothing, 0, (0, 3), (0, 3))).low)


@pytest.mark.parametrize("shape", [(0, 7), (7, 0), (0, 3, 4), (2, 3, 0)])
def test_an_empty_tensor_has_no_singular_values(tmp_path: Path, shape: tuple[int, ...]) -> None:
    empty = stored(of_safetensors(tmp_path, {"w": torch.zeros(shape)}), "w")
    assert ask(AskSingularValues(empty, 0)) == Unreadable(empty, "w is empty, so it has no singular values.")


def test_one_number_alone_and_far_from_zero(tmp_path: Path) -> None:
    """Variances of small differences far from zero are where sums of squares fail."""
    far = torch.full((300, 300), 1e8, dtype=torch.float64) + random(300, 300).double()
    tensor = stored(of_safetensors(tmp_path, {"w": far, "one": torch.full((9, 9), 0.25)}), "w")
    found = ask(AskTensorFigures(tensor, 0))
    assert found.deviation == pytest.approx(far.numpy().std(), rel=1e-6)
    one = stored(of_safetensors(tmp_path, {"one": torch.full((9, 9), 0.25)}), "one")
    check_histogram(one, 0, np.full((9, 9), 0.25))
    assert ask(AskTensorFigures(one, 0)).deviation == 0


@pytest.mark.parametrize("size", [2**18, 700])
@pytest.mark.parametrize("kind", ["F32", "F64", "BF16", "FP8", "MXFP4", "Q8_0", "Q4_1"])
@pytest.mark.parametrize("wide", [False, True])
def test_singular_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int, wide: bool) -> None:
    monkeypatch.setattr(values, "SLICE", size)
    monkeypatch.setattr(tensor_answers, "_PRODUCT", 5e3)
    tensor, numbers = KINDS[kind](tmp_path)
    matrix, chosen = (2, numbers[2]) if numbers.ndim == 3 else (0, numbers)
    if wide and kind in ("F32", "F64", "BF16"):
        turned = torch.from_numpy(chosen.T.copy()).to(torch.float32)
        tensor, chosen = stored(of_safetensors(tmp_path, {"w": turned}), "w"), turned.double().numpy()
    found = ask(AskSingularValues(tensor, matrix))
    expected = torch.linalg.svdvals(torch.from_numpy(chosen)).numpy()
    assert isinstance(found, SingularValues)
    assert np.abs(found.values - expected).max() <= SPECTRUM * expected[0]
    shares = expected / expected.sum()
    assert found.effective_rank == pytest.approx(float(np.exp(-(shares * np.log(shares)).sum())), rel=1e-5)
    assert found.stable_rank == pytest.approx((expected**2).sum() / expected[0] ** 2, rel=1e-6)
    assert found.condition == pytest.approx(expected[0] / expected[-1], rel=1e-3)


def test_a_matrix_of_low_rank(tmp_path: Path) -> None:
    low = random(60, 4) @ random(4, 50, seed=2)
    found = ask(AskSingularValues(stored(of_safetensors(tmp_path, {"w": low.double()}), "w"), 0))
    assert (found.values[4:] < SPECTRUM * found.values[0]).all()
    assert found.effective_rank < 5
    assert found.condition == np.inf
    zeros = ask(AskSingularValues(stored(of_safetensors(tmp_path, {"w": torch.zeros(5, 6)}), "w"), 0))
    assert (zeros.effective_rank, zeros.stable_rank) == (0, 0)


def test_large_matrices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.questions.MOST_SIDE", 8)
    tensor = stored(of_safetensors(tmp_path, {"w": random(9, 20)}), "w")
    assert ask(AskSingularValues(tensor, 0)).sentence == (
        "w is 9 x 20; singular values are computed where the shorter side is at most 8."
    )


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["F32", "FP8", "MXFP4", "Q8_0"])
def test_never_more_than_a_slice_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(values, "SLICE", 512)
    tensor, _ = KINDS[kind](tmp_path)
    read: list[int] = []
    rows = OpenFiles.rows

    def counted(self: OpenFiles, info: Any, start: int, stop: int) -> bytearray:
        read.append(len(found := rows(self, info, start, stop)))
        return found

    monkeypatch.setattr(OpenFiles, "rows", counted)
    for question in (AskTensorFigures(tensor, 0), AskSingularValues(tensor, 0)):
        ask(question)
        assert read
        assert max(read) <= 512 * 4
        read.clear()


def test_work_given_up_closes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "SLICE", 100)
    tensor = KINDS["F32"](tmp_path)[0]
    work = tensor_answers.answering(AskTensorFigures(tensor, 0))
    next(work)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    work.close()
    assert not before or len(os.listdir("/proc/self/fd")) < before


def test_files_that_are_not_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = KINDS["F32"](tmp_path)[0]
    path = tensor.stamps[0][0]
    whole_file = path.read_bytes()
    path.write_bytes(whole_file + b" ")
    assert "model.safetensors has changed since" in ask(AskTensorFigures(tensor, 0)).sentence
    path.unlink()
    assert "is no longer there" in ask(AskTensorFigures(tensor, 0)).sentence
    path.write_bytes(whole_file[:-4000])
    short = Stored(**{**vars(tensor), "stamps": ((path, *stamp(path)),)})
    assert "ends inside the tensor" in ask(AskTensorFigures(short, 0)).sentence
    path.write_bytes(whole_file)
    again = Stored(**{**vars(tensor), "stamps": ((path, *stamp(path)),)})
    monkeypatch.setattr(values, "SLICE", 100)
    work = tensor_answers.answering(AskTensorFigures(again, 0))
    next(work)
    os.truncate(path, 2000)  # while it is read
    assert "ends inside the tensor" in whole(work).sentence


def test_types_without_numbers_are_said(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = b'{"w":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    tensor = stored(Origin("safetensors", read_header(path), {path: stamp(path)}), "w")
    assert "stored as F4, whose numbers cannot be read here" in ask(AskTensorFigures(tensor, 0)).sentence


def test_scales_that_do_not_fit_are_said(tmp_path: Path) -> None:
    tensors = {"w": random(30, 40).to(torch.float8_e4m3fn), "w_scale_inv": torch.ones(7, 7)}
    tensor = stored(of_safetensors(tmp_path, tensors, (16, 16)), "w")
    assert "do not fit w" in ask(AskTensorFigures(tensor, 0)).sentence


def test_scales_by_themselves_and_fp8_without_any(tmp_path: Path) -> None:
    weight, scale = random(30, 40).to(torch.float8_e4m3fn), random(2, 3).abs()
    origin = of_safetensors(tmp_path, {"w": weight, "w_scale_inv": scale, "alone": weight.clone()}, (16, 16))
    own = stored(origin, "w_scale_inv")
    assert (own.dtype, own.shape, len(own.parts)) == ("F32", (2, 3), 1)
    check_figures(ask(AskTensorFigures(own, 0)), scale.double().numpy())
    alone = stored(origin, "alone")
    assert alone.dtype == "F8_E4M3"
    check_figures(ask(AskTensorFigures(alone, 0)), weight.double().numpy())


@pytest.mark.parametrize("variant", ["gpt2-default", "mixtral-default", "gpt_oss-default", "deepseek_v3-default"])
def test_every_tensor_of_a_model_as_it_lies_in_its_file(tmp_path_factory: pytest.TempPathFactory, variant: str) -> None:
    """Transposed maps of GPT-2 too: figures are of the matrix that the file has."""
    folder = Oracles(tmp_path_factory.mktemp("oracles"))[variant].folder
    found, kept = inventory(folder), load_file(folder / "model.safetensors")
    assert {entry.name for entry in found.entries} == set(kept)
    for entry in found.entries:
        tensor = stored(found.origin, entry.name)
        numbers = kept[entry.name].double().numpy()
        check_figures(ask(AskTensorFigures(tensor, None)), numbers)
        if numbers.ndim == 2:
            np.testing.assert_allclose(ask(AskTensorFigures(tensor, 0)).means, numbers, rtol=1e-12)
