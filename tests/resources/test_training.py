"""Training on a small scale: the hand-written gradient, the optimiser, a run that is saved and taken up again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

import engine
from engine.loading import Loaded
from resources.demo_model import train
from resources.demo_model.corpus import Stream, batch, streams, train_tokenizer
from resources.demo_model.network import Network, Shape, _named, export
from resources.demo_model.optimizer import COOL_DOWN, WARM_UP, Muon, optimizers, orthogonal, rate
from resources.demo_model.texts import END, Texts, sums
from tests.resources.shipped import FOLDER, TEXTS, TOLERANCE, ids

TOY = Shape(2, 32, 4, 2, 8, n_experts=4, d_expert=32, top_k=2, d_vocab=300, n_ctx=64)


class Unembedding(nn.Module):
    """An embedding alone, which is all that the hand-written gradient needs of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(50, 16))


def test_hand_written_gradient_is_autograds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "LOGIT_Z_LOSS", 0.1)  # as large as the rest, so that it is seen
    monkeypatch.setattr(train, "CHUNK", 8)
    torch.manual_seed(0)
    network, rows = Unembedding(), torch.randn(20, 16, requires_grad=True)
    targets, weights = torch.randint(50, (20,)), torch.rand(20)
    loss, of_rows = train._unembedding(network, rows.detach(), targets, weights)  # type: ignore[arg-type]
    of_embed, network.embed.grad = network.embed.grad, None

    logits = rows @ network.embed.T
    plain = (weights * F.cross_entropy(logits, targets, reduction="none")).mean()
    (plain + 0.1 * logits.logsumexp(-1).square().mean()).backward()
    assert loss == pytest.approx(plain.item(), rel=0.01)
    assert apart(of_rows, rows.grad) < 0.02
    assert apart(of_embed, network.embed.grad) < 0.02


def apart(found: Tensor | None, wanted: Tensor | None) -> float:
    """Relative to the norm; bfloat16 has eight bits."""
    assert found is not None
    assert wanted is not None
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48), (3, 20, 40)])
def test_orthogonal_sets_singular_values_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    found = orthogonal(torch.randn(shape) * 7)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.4  # five steps lift the smallest not all the way
    assert values.max() < 1.3


def test_orthogonal_keeps_directions() -> None:
    torch.manual_seed(2)
    u, s, v = torch.linalg.svd(torch.randn(12, 12))
    found = orthogonal(u @ torch.diag(s) @ v)
    assert apart(u.mT @ found @ v.mT, torch.diag((u.mT @ found @ v.mT).diagonal())) < 0.05


def test_rate_rises_stays_and_falls_to_zero() -> None:
    assert rate(0) == 0
    assert rate(WARM_UP) == rate(0.2) == rate(1 - COOL_DOWN) == 1
    assert rate(1 - COOL_DOWN / 2) == pytest.approx(0.5)
    assert rate(1) == rate(1.5) == 0


def test_muon_moves_maps_and_adam_the_rest() -> None:
    network = Network(TOY)
    muon, adam = optimizers(network)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    moved = [{names[id(p)].split(".")[-1] for g in move.param_groups for p in g["params"]} for move in (muon, adam)]
    assert isinstance(muon, Muon)
    assert moved[0] == {"q", "k", "v", "o", "gate", "up", "down"}
    assert not moved[0] & moved[1]
    assert {"embed", "router", "final_norm"} <= moved[1]


@dataclass
class Toy:
    """What a small run needs."""

    tokenizer: Tokenizer
    found: dict[str, Stream]
    kept: dict[str, Stream]

    def learn(self, network: Network, moves: list, step: int) -> float:
        """One step on a batch that depends on its number alone."""
        return train.learn(network, moves, *batch(self.found, 8, 32, np.random.default_rng(step)))["loss"]


@pytest.fixture(scope="module")
def toy() -> Toy:
    stories = [f"Once there was a king.\nHe had {n} sons.\nThey went far away.\n" for n in range(30)]
    code = [f"def f{n}(x):\n    y = x + {n}\n    return y\n" for n in range(30)]
    documents = {
        "tales": Texts(stories, stories),
        "python": Texts(code, code),
        "sums": Texts(sums(20, 1), sums(20, 2, held_out=True)),
    }
    tokenizer = train_tokenizer(documents, TOY.d_vocab)
    return Toy(tokenizer, streams(tokenizer, documents), streams(tokenizer, documents, held_out=True))


@pytest.fixture(scope="module")
def run(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ten steps, saved: the work folder, the network, its optimisers, the losses."""
    work = tmp_path_factory.mktemp("work")
    (work / "export").mkdir()
    toy.tokenizer.save(str(work / "export" / "tokenizer.json"))
    torch.manual_seed(3)
    network = Network(TOY)
    moves = optimizers(network)
    progress = train.Progress(seed=3)
    losses = [toy.learn(network, moves, step) for step in range(10)]
    progress.step, progress.tokens, progress.seconds = 10, 10 * 8 * 32, 1.5
    train._save(network, moves, progress, toy.kept, toy.tokenizer, work)
    return work, network, moves, losses


def test_ten_steps_lower_the_loss(run: Any) -> None:
    losses = run[3]
    assert losses[-1] < losses[0] - 0.5


def test_a_run_is_taken_up_where_it_was_saved(run: Any, toy: Toy) -> None:
    work, network, moves, _ = run
    torch.manual_seed(4)
    again = Network(TOY)
    moves_again = optimizers(again)
    progress = train._taken_up(work, again, moves_again, seed=99)
    assert (progress.step, progress.tokens, progress.seconds, progress.seed) == (10, 2560, 1.5, 3)
    assert list(progress.log[0]) == ["step", "seconds", "tales", "python", "sums", "sums right"]
    assert all(map(torch.equal, network.parameters(), again.parameters()))
    for made, its_moves in ((network, moves), (again, moves_again)):
        torch.manual_seed(5)  # of dropout, as a run sets it at every step
        toy.learn(made, its_moves, 10)  # the optimisers' memory is the same too
    assert all(map(torch.equal, network.parameters(), again.parameters()))


def test_a_run_ends_by_the_clock_with_long_rows_and_no_rate_left(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "TOKENS_A_STEP", 256)
    monkeypatch.setattr(train, "SHORT", 32)
    ticks = count()
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    lengths: list[int] = []
    learn = train.learn
    monkeypatch.setattr(train, "learn", lambda *given: lengths.append(given[2].shape[1] - 1) or learn(*given))
    (tmp_path / "export").mkdir()
    network, progress = Network(TOY), train.Progress(seed=7)
    moves = optimizers(network)
    train._run(network, moves, progress, toy.found, toy.kept, toy.tokenizer, 40.0, tmp_path)
    assert progress.step == len(lengths) == 20
    assert lengths == [32] * 11 + [TOY.n_ctx] * 9
    assert progress.log[-1]["step"] == progress.step
    assert (tmp_path / "export" / "model.safetensors").stat().st_size > 0
    assert moves[0].param_groups[0]["lr"] == pytest.approx(0.02 * (1 - 39 / 40) / COOL_DOWN)


def test_a_run_that_was_never_saved_begins(tmp_path: Path) -> None:
    network = Network(TOY)
    assert train._taken_up(tmp_path, network, optimizers(network), seed=5) == train.Progress(5)


def test_an_exported_folder_opens_in_the_engine(run: Any, toy: Toy) -> None:
    loaded = engine.load(run[0] / "export", device="cpu", dtype="float32")
    assert loaded.warnings == ()
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.encode(TEXTS["sums"]) == toy.tokenizer.encode(TEXTS["sums"]).ids
    assert loaded.config.eos_token_ids == (toy.tokenizer.token_to_id(END),)
    assert loaded.sampling == engine.Sampling(temperature=0.7, top_p=0.9)


@torch.no_grad()
def logits(network: Network, given: Tensor) -> Tensor:
    return F.linear(network(given)[0], network.embed)


@torch.no_grad()
def test_dropout_is_of_training_alone() -> None:
    network, given = Network(TOY), torch.arange(12)[None]
    for experts in network.experts:
        torch.nn.init.normal_(experts.down, std=0.2)  # at first nothing is added that could be left out
    torch.manual_seed(0)
    assert not torch.equal(logits(network, given), logits(network, given))
    network.eval()
    assert torch.equal(logits(network, given), logits(network, given))


@torch.no_grad()
def test_a_random_network_is_the_engines(tmp_path: Path) -> None:
    torch.manual_seed(6)
    network = Network(TOY).eval()
    for parameter in network.parameters():  # norms and zeroed outputs too, or an error hides in them
        parameter.copy_((parameter + 0.2 * torch.randn_like(parameter)).bfloat16())
    export(network, tmp_path, end_id=0)
    loaded = engine.load(tmp_path, device="cpu", dtype="float32")
    given = torch.randint(TOY.d_vocab, (2, TOY.n_ctx))
    wanted = logits(network, given)
    assert wanted.std() > 0.1
    assert (loaded.model(given) - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("kind", TEXTS)
def test_the_shipped_weights_in_the_network_that_was_trained(demo: Loaded, kind: str) -> None:
    network, stored = Network(Shape()).eval(), load_file(FOLDER / "model.safetensors")
    named = _named(network)
    assert named.keys() == stored.keys()
    for name, weight in named.items():
        weight.copy_(stored[name])
    given = ids(demo, kind)
    assert (demo.model(given) - logits(network, given)).abs().max() <= TOLERANCE
