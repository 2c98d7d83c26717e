"""Muon for the matrices (Jordan et al. 2024), AdamW for the rest, and one schedule that both follow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MUON_RATE, ADAM_RATE = 0.02, 0.003
MOMENTUM, DECAY = 0.95, 0.05
WARM_UP, COOL_DOWN = 0.01, 0.6  # shares of the time: rise to the full rate, and fall to zero at the end


def rate(progress: float) -> float:
    """The share of the full learning rate at this share of the time."""
    return max(0.0, min(1.0, progress / WARM_UP, (1 - progress) / COOL_DOWN))


class Muon(torch.optim.Optimizer):
    """Momentum whose singular values are all set to about 1, matrix by matrix; stacked experts all at once."""

    def __init__(self, matrices: list[nn.Parameter]) -> None:
        super().__init__(matrices, {"lr": MUON_RATE})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing is evaluated again
        """Move every matrix, ``[..., rows, columns]``."""
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonal(matrix.grad.lerp(momentum, MOMENTUM))
                update *= max(1.0, matrix.shape[-2] / matrix.shape[-1]) ** 0.5
                matrix.mul_(1 - group["lr"] * DECAY).sub_(update, alpha=group["lr"])


def orthogonal(update: Tensor) -> Tensor:
    """The nearest matrix with singular values of about 1: five steps of Newton and Schulz, in bfloat16."""
    x = update.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).float()


def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for attention's and experts' matrices; AdamW for embedding, router and norms, which are no such maps."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        is_matrix = parameter.ndim >= 2 and name != "embed" and "router" not in name
        (matrices if is_matrix else others).append(parameter)
    return [Muon(matrices), torch.optim.AdamW(others, ADAM_RATE, betas=(0.9, 0.97), weight_decay=0.01)]
