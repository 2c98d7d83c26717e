"""Tensors leaving the device, as numpy arrays the caller owns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.transfer import to_host


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float32, np.float32),
        (torch.float64, np.float64),
        (torch.bfloat16, np.float32),
        (torch.float16, np.float32),
        (torch.int64, np.int64),
        (torch.bool, np.bool_),
    ],
)
def test_types_and_values(dtype: torch.dtype, expected: type) -> None:
    tensor = torch.tensor([[0.0, 1.0], [1.5, 3.0]]).to(dtype)
    array = to_host({"x": tensor})["x"]
    assert array.dtype == expected
    assert array.tolist() == tensor.tolist()


def test_arrays_are_copies_in_order() -> None:
    tensor = torch.arange(6.0).view(2, 3)
    arrays = to_host({"turned": tensor.t(), "whole": tensor})
    tensor.zero_()
    assert arrays["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert all(array.flags.c_contiguous and array.flags.owndata for array in arrays.values())


def test_tensors_of_any_mode_and_size() -> None:
    with torch.inference_mode():
        inside = torch.ones(2) * 2
    grad = torch.ones(2, requires_grad=True) * 3
    arrays = to_host({"inside": inside, "grad": grad, "empty": torch.empty(3, 0), "scalar": torch.tensor(4.0)})
    assert (arrays["inside"].tolist(), arrays["grad"].tolist()) == ([2, 2], [3, 3])
    assert arrays["empty"].shape == (3, 0)
    assert float(arrays["scalar"]) == 4.0
    assert to_host({}) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_from_a_gpu() -> None:
    arrays = to_host({"x": torch.arange(4, device="cuda").bfloat16(), "y": torch.ones(2)})
    assert (arrays["x"].tolist(), arrays["y"].tolist()) == ([0, 1, 2, 3], [1, 1])
