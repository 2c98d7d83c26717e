"""How far experts divide the domains between them, and how evenly they are used."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from resources.demo_model.corpus import SHARES
from resources.demo_model.prediction import Routing
from resources.demo_model.texts import DOMAINS


def shares(routings: Mapping[str, Routing]) -> dict[str, list[list[float]]]:
    """By domain: each expert's share of a layer's choices, ``[n_layers][n_experts]``."""
    return {name: [_rounded(layer) for layer in routing.shares] for name, routing in routings.items()}


def divided(routings: Mapping[str, Routing]) -> dict[str, list[float]]:
    """By layer: the total variation distance of each two domains, and what an expert says about the domain.

    The distance is ½ · Σ |f_i − g_i| over experts, 0 where two domains use experts alike and 1 where they share none.
    """
    pairs = combinations(DOMAINS, 2)
    apart = {f"{a}-{b}": (routings[a].shares - routings[b].shares).abs().sum(-1) / 2 for a, b in pairs}
    return {name: _rounded(values) for name, values in apart.items()} | {"information": _rounded(information(routings))}


def information(routings: Mapping[str, Routing]) -> Tensor:
    """The mutual information of expert and domain in bits, ``[n_layers]``, each domain equally likely.

    H(mean of the domains' shares) − mean of H(a domain's shares): 0 where the expert tells nothing, and with three
    domains log2 3 = 1.585 where it tells the domain for certain.
    """
    by_domain = torch.stack([routings[name].shares for name in DOMAINS])
    return _entropy(by_domain.mean(0)) - _entropy(by_domain).mean(0)


def _entropy(distribution: Tensor) -> Tensor:
    return -torch.xlogy(distribution, distribution).sum(-1) / torch.log(torch.tensor(2.0, dtype=distribution.dtype))


def balance(routings: Mapping[str, Routing]) -> list[float]:
    """By layer N · Σ f_i · s̄_i, 1 where experts are used evenly, with the domains mixed as in training."""
    mix = torch.tensor(SHARES, dtype=torch.float64)[:, None, None]
    chosen = (mix * torch.stack([routings[name].shares for name in DOMAINS])).sum(0)
    scores = (mix * torch.stack([routings[name].mean_scores for name in DOMAINS])).sum(0)
    return _rounded(chosen.shape[-1] * (chosen * scores).sum(-1))


def _rounded(values: Tensor) -> list[float]:
    """A vector with four digits."""
    return [round(value, 4) for value in values.tolist()]
