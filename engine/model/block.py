"""One layer: attention and MLP, each normalised before, after, or both, one after the other or side by side."""

from __future__ import annotations

from torch import Tensor, nn

from engine.cache import KVCache
from engine.config import AttentionSpec, LayerSpec, MLPSpec, NormSpec
from engine.hooks import HookPoints
from engine.model.attention import Attention
from engine.model.latent_attention import LatentAttention
from engine.model.mlp import GatedMLP, PlainMLP
from engine.model.moe import MoE
from engine.model.norm import Norm
from engine.model.rope import Turn


class Block(nn.Module):
    """The residual stream ``[batch, pos, d_model]`` in and out."""

    def __init__(self, spec: LayerSpec, d_model: int, points: HookPoints, layer: int) -> None:
        super().__init__()
        self.spec = spec
        prefix = f"blocks.{layer}"

        def norm(wanted: NormSpec | None, name: str) -> Norm | None:
            return None if wanted is None else Norm(wanted, d_model, points, f"{prefix}.{name}")

        self.ln1, self.ln1_post = norm(spec.norm1, "ln1"), norm(spec.norm1_post, "ln1_post")
        self.ln2, self.ln2_post = norm(spec.norm2, "ln2"), norm(spec.norm2_post, "ln2_post")
        attention = Attention if isinstance(spec.attention, AttentionSpec) else LatentAttention
        self.attn = attention(spec.attention, d_model, points, layer)  # type: ignore[arg-type]  # by the line above
        self.mlp = _mlp(spec, d_model, points, f"{prefix}.mlp.")
        self.hook_resid_pre = points[f"{prefix}.hook_resid_pre"]
        self.hook_attn_out = points[f"{prefix}.hook_attn_out"]
        self.hook_mlp_out = points[f"{prefix}.hook_mlp_out"]
        self.hook_resid_post = points[f"{prefix}.hook_resid_post"]
        if not spec.parallel:
            self.hook_resid_mid = points[f"{prefix}.hook_resid_mid"]

    def forward(self, x: Tensor, turn: Turn | None, cache: KVCache | None) -> Tensor:
        x = self.hook_resid_pre(x)
        normed = x if self.ln1 is None else self.ln1(x)
        written = self.hook_attn_out(self._added(self.attn(normed, turn, cache), self.ln1_post))
        if self.spec.parallel:
            read = normed if self.ln2 is None else self.ln2(x)
            return self.hook_resid_post(x + written + self.hook_mlp_out(self._added(self.mlp(read), self.ln2_post)))
        x = self.hook_resid_mid(x + written)
        read = x if self.ln2 is None else self.ln2(x)
        return self.hook_resid_post(x + self.hook_mlp_out(self._added(self.mlp(read), self.ln2_post)))

    def attention_input(self, x: Tensor) -> Tensor:
        """What attention reads of a residual stream, without hooks."""
        return x if self.ln1 is None else self.ln1.recompute(x)

    def _added(self, x: Tensor, norm: Norm | None) -> Tensor:
        return self._scaled(x if norm is None else norm(x))

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.spec.residual_scale == 1 else x * self.spec.residual_scale


def _mlp(spec: LayerSpec, d_model: int, points: HookPoints, prefix: str) -> nn.Module:
    if not isinstance(spec.mlp, MLPSpec):
        return MoE(spec.mlp, d_model, points, prefix)
    return (GatedMLP if spec.mlp.gated else PlainMLP)(spec.mlp, d_model, points, prefix)
