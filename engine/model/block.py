"""One layer, pre-norm: x += attention(norm1(x)); x += mlp(norm2(x))."""

from __future__ import annotations

from torch import Tensor, nn

from engine.cache import KVCache
from engine.config import LayerSpec
from engine.hooks import HookPoints
from engine.model.attention import Attention
from engine.model.mlp import MLP
from engine.model.norm import RMSNorm
from engine.model.rope import Turn


class Block(nn.Module):
    """The residual stream ``[batch, pos, d_model]`` in and out."""

    def __init__(self, spec: LayerSpec, d_model: int, points: HookPoints, layer: int) -> None:
        super().__init__()
        prefix = f"blocks.{layer}"
        self.ln1 = RMSNorm(spec.norm1, d_model, points, f"{prefix}.ln1")
        self.attn = Attention(spec.attention, d_model, points, layer)
        self.ln2 = RMSNorm(spec.norm2, d_model, points, f"{prefix}.ln2")
        self.mlp = MLP(spec.mlp, d_model, points, layer)
        self.hook_resid_pre = points[f"{prefix}.hook_resid_pre"]
        self.hook_attn_out = points[f"{prefix}.hook_attn_out"]
        self.hook_resid_mid = points[f"{prefix}.hook_resid_mid"]
        self.hook_mlp_out = points[f"{prefix}.hook_mlp_out"]
        self.hook_resid_post = points[f"{prefix}.hook_resid_post"]

    def forward(self, x: Tensor, turn: Turn, cache: KVCache | None) -> Tensor:
        x = self.hook_resid_pre(x)
        x = self.hook_resid_mid(x + self.hook_attn_out(self.attn(self.ln1(x), turn, cache)))
        return self.hook_resid_post(x + self.hook_mlp_out(self.mlp(self.ln2(x))))
