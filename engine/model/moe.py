"""A mixture of experts: a router picks a few of many MLPs for each position.

Prefill goes expert by expert over the positions that chose it; decode touches only the chosen experts' weights.
Formulas: transformers' routers of Mixtral, Qwen-MoE, DeepSeek-V2/V3, Llama 4 and gpt-oss, as one chain of stages.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import MoESpec
from engine.errors import HookError
from engine.hooks import HookPoints
from engine.model.linear import Linear, project
from engine.model.mlp import GatedMLP, gating
from engine.transfer import to_host


class Router(nn.Module):
    """From the stream to the experts of each position and their weights."""

    def __init__(self, spec: MoESpec, d_model: int, points: HookPoints, prefix: str) -> None:
        super().__init__()
        self.spec = spec
        self.map = Linear(d_model, spec.n_experts, bias=spec.router_bias)
        self.choice_bias = nn.Parameter(torch.empty(spec.n_experts)) if spec.choice_bias else None
        self.hook_router_logits = points[f"{prefix}hook_router_logits"]
        self.hook_router_scores = points[f"{prefix}hook_router_scores"]
        self.hook_router_choice = points[f"{prefix}hook_router_choice"]
        self.hook_expert_indices = points[f"{prefix}hook_expert_indices"]
        self.hook_expert_weights = points[f"{prefix}hook_expert_weights"]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[batch, pos, d_model]`` to expert ids and weights, both ``[batch, pos, top_k]``, falling by choice."""
        logits = self.hook_router_logits(self.logits(x))
        scores = self._shown(self.scores(logits))
        choice = self.hook_router_choice(self.choice(logits if self.spec.score_chosen else scores))
        indices = self.hook_expert_indices(choice.topk(self.spec.top_k, dim=-1).indices)
        return indices, self.hook_expert_weights(self.weights(logits, scores, indices).to(x.dtype))

    def _shown(self, scores: Tensor) -> Tensor:
        replaced = self.hook_router_scores(scores)
        if self.spec.score_chosen and replaced is not scores:  # weights are scores of the chosen logits alone
            raise HookError(f"{self.hook_router_scores.name} only shows scores here; replace the logits instead.")
        return replaced

    def logits(self, x: Tensor) -> Tensor:
        """``[batch, pos, n_experts]``."""
        if not self.spec.logits_float32:
            return self.map(x)
        bias = None if self.map.bias is None else self.map.bias.float()
        return F.linear(x.float(), _widened(self.map.weight), bias)

    def scores(self, logits: Tensor) -> Tensor:
        """Softmax or sigmoid over all experts."""
        return self._score(logits)

    def choice(self, scores: Tensor) -> Tensor:
        """What the choice is made by: scores with their bias, -inf in the groups that are barred."""
        choice = scores if self.choice_bias is None else scores + self.choice_bias
        if self.spec.n_groups == 1:
            return choice
        grouped = choice.unflatten(-1, (self.spec.n_groups, -1))
        best = grouped.topk(2, dim=-1).values.sum(-1) if self.spec.group_score == "top2" else grouped.amax(-1)
        chosen = best.topk(self.spec.top_groups, dim=-1).indices
        barred = torch.ones_like(best, dtype=torch.bool).scatter_(-1, chosen, False)
        return grouped.masked_fill(barred[..., None], float("-inf")).flatten(-2)

    def weights(self, logits: Tensor, scores: Tensor, indices: Tensor) -> Tensor:
        """What each chosen expert's output (or input) is multiplied by."""
        chosen = (logits if self.spec.score_chosen else scores).gather(-1, indices)
        weights = self._score(chosen) if self.spec.score_chosen else chosen
        if self.spec.renormalise:
            weights = weights / (weights.sum(-1, keepdim=True) + self.spec.renormalise_eps)
        return weights * self.spec.weight_scale if self.spec.weight_scale != 1 else weights

    def _score(self, logits: Tensor) -> Tensor:
        wide = logits.float() if self.spec.score_float32 else logits
        return wide.sigmoid() if self.spec.score == "sigmoid" else wide.softmax(-1)


def _widened(weight: Tensor) -> Tensor:
    """In float32; where that is a copy, row after row, so that sums are rounded as transformers rounds them."""
    if weight.dtype == torch.float32:
        return weight
    return weight.to(torch.float32, memory_format=torch.contiguous_format)


class Experts(nn.Module):
    """Gated MLPs with stacked weights: ``gate_up`` [n_experts, 2 · d_mlp, d_model] and ``down`` [, d_model, d_mlp]."""

    def __init__(self, spec: MoESpec, d_model: int, points: HookPoints, prefix: str) -> None:
        super().__init__()
        expert, count = spec.expert, spec.n_experts
        self.join = gating(expert)
        self.gate_up = nn.Parameter(torch.empty(count, 2 * expert.d_mlp, d_model))
        self.down = nn.Parameter(torch.empty(count, d_model, expert.d_mlp))
        self.gate_up_bias = nn.Parameter(torch.empty(count, 2 * expert.d_mlp)) if expert.bias else None
        self.down_bias = nn.Parameter(torch.empty(count, d_model)) if expert.bias else None
        names = ("hook_pre", "hook_pre_linear", "hook_post", "hook_out")
        self.hooks = [[points[f"{prefix}experts.{index}.{name}"] for name in names] for index in range(count)]

    def forward(self, x: Tensor, expert: int) -> Tensor:
        """One expert on the positions that chose it, ``[routed, d_model]`` to the same."""
        hook_pre, hook_pre_linear, hook_post, hook_out = self.hooks[expert]
        gate, up = self._gate_and_up(x, expert)
        post = hook_post(self.join(hook_pre(gate), hook_pre_linear(up)))
        return hook_out(self._out(post, expert))

    def _gate_and_up(self, x: Tensor, expert: int) -> tuple[Tensor, Tensor]:
        gate, up = project(x, self.gate_up[expert], _row(self.gate_up_bias, expert)).chunk(2, dim=-1)
        return gate, up

    def _out(self, post: Tensor, expert: int) -> Tensor:
        return project(post, self.down[expert], _row(self.down_bias, expert))


def _row(bias: Tensor | None, expert: int) -> Tensor | None:
    return None if bias is None else bias[expert]


class MoE(nn.Module):
    """Router, experts, and the shared MLP where there is one."""

    def __init__(self, spec: MoESpec, d_model: int, points: HookPoints, prefix: str) -> None:
        super().__init__()
        self.spec = spec
        self.router = Router(spec, d_model, points, prefix)
        self.experts = Experts(spec, d_model, points, prefix)
        self.hook_routed_out = points[f"{prefix}hook_routed_out"]
        if spec.shared is not None:
            self.shared = GatedMLP(spec.shared, d_model)
            self.hook_shared_out = points[f"{prefix}hook_shared_out"]
        if spec.shared_gate:
            self.shared_gate = Linear(d_model, 1, bias=False)
            self.hook_shared_gate = points[f"{prefix}hook_shared_gate"]

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, pos, d_model]`` to the same."""
        indices, weights = self.router(x)
        routed = self.hook_routed_out(self._routed(x, indices, weights))
        return routed if self.spec.shared is None else routed + self._shared(x)

    def _routed(self, x: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """What the chosen experts give together. The loops need expert ids as numbers, so these leave the device."""
        rows, weights = x.flatten(0, -2), weights.flatten(0, -2)  # [positions, d_model], [positions, top_k]
        ids = torch.from_numpy(to_host({"ids": indices.flatten(0, -2)})["ids"])
        out = self._of_one(rows, ids, weights) if len(rows) == 1 else self._of_many(rows, ids, weights)
        return out.view_as(x)

    def _of_one(self, row: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Decode: the chosen experts one after the other."""
        given = [self._weighed(row, weights[:, slot, None], expert) for slot, expert in enumerate(ids[0].tolist())]
        return torch.stack(given).sum(0)

    def _of_many(self, rows: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Prefill: every expert that was chosen, on all its positions at once."""
        out = torch.zeros_like(rows)
        for expert in ids.unique().tolist():
            where, slot = (found.to(rows.device) for found in (ids == expert).nonzero(as_tuple=True))
            out.index_add_(0, where, self._weighed(rows[where], weights[where, slot, None], expert))
        return out

    def _weighed(self, rows: Tensor, weight: Tensor, expert: int) -> Tensor:
        """What one expert adds, ``[routed, d_model]``, with its weights ``[routed, 1]``."""
        if self.spec.scale_input:
            return self.experts(rows * weight, expert)
        return self.experts(rows, expert) * weight

    def _shared(self, x: Tensor) -> Tensor:
        shared = self.shared(x)
        if self.spec.shared_gate:
            shared = shared * self.hook_shared_gate(torch.sigmoid(self.shared_gate(x)))
        return self.hook_shared_out(shared)
