"""What moves the weights, and in which arithmetic."""

import copy
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from tiny import Affine, batches, weights_of
from torch import Tensor, nn, optim

import aetherfusion.optimizer as optimization
from aetherfusion import (
    DiffusionTransformerUNet,
    recommended_optimizer,
    train,
)
from aetherfusion.optimizer import MuonAdamW, orthogonalise
from aetherfusion.training import clip_and_check, gradient
from aetherfusion.utils.hardware import fast_dtype

# Optimizer


def test_recommended_optimizer_shares_out_every_parameter_once() -> None:
    model = DiffusionTransformerUNet(embedding_dim=16, num_heads=2, depth=2)
    optimizer = recommended_optimizer(model, lr=1e-3)
    owned = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(owned) == len({id(p) for p in owned}) == len(list(model.parameters()))
    muon, adamw = optimizer.param_groups
    assert len(muon["params"]) == 2 * 4 and all(p.ndim == 2 for p in muon["params"])
    assert muon["muon"] and not adamw["muon"] and muon["lr"] == adamw["lr"] == 1e-3


def test_what_muon_does_not_move_takes_the_steps_of_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(3, 4, dtype=torch.float64)) for _ in range(2))
    matrix = nn.Parameter(torch.ones(4, 4))
    mine = MuonAdamW([{"params": [matrix], "muon": True}, {"params": [ours]}], lr=0.1)
    reference = optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.97), weight_decay=0.01)
    for _ in range(5):
        ours.grad = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        theirs.grad, matrix.grad = ours.grad.clone(), torch.ones(4, 4)
        mine.step()
        reference.step()
    assert torch.equal(ours, theirs) and len(mine.param_groups) == 2
    assert (matrix < 1).all()


@pytest.mark.parametrize("shape", [(12, 12), (6, 20), (20, 6)])
def test_orthogonalise_puts_each_singular_value_through_the_polynomial(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimization, "fast_dtype", lambda _: torch.float32)
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    matrices *= torch.tensor([1e-4, 1.0, 100.0])[:, None, None]  # each has its own scale
    u, s, vh = torch.linalg.svd(matrices.double(), full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    assert s.min() > 0.6 and s.max() < 1.3
    found = orthogonalise(matrices)
    assert found.dtype == torch.float32
    assert (found - u @ s.diag_embed() @ vh).abs().max() < 1e-4
    assert torch.equal(orthogonalise(torch.zeros(1, *shape)), torch.zeros(1, *shape))


def muon(params: list[nn.Parameter], lr: float = 4e-3, **options: float) -> MuonAdamW:
    return MuonAdamW([{"params": params, "muon": True}], lr, **options)


def muon_steps(make: Callable[[list[nn.Parameter]], optim.Optimizer]) -> Tensor:
    """Matrices of three shapes, some alike, after a few steps with given gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(12, 12), (6, 20), (20, 6), (6, 20), (12, 12), (6, 20)]
    matrices = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    idle = nn.Parameter(torch.ones(6, 20))  # it never gets a gradient
    optimizer = make([matrices[0], idle, *matrices[1:]])
    for _ in range(4):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    assert torch.equal(idle.detach(), torch.ones(6, 20))
    return torch.cat([matrix.detach().flatten() for matrix in matrices])


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has a Muon since 2.9")
def test_muon_takes_the_steps_of_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def torchs(params: list[nn.Parameter]) -> optim.Optimizer:
        return torch.optim.Muon(params, 0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")

    expected = muon_steps(torchs)
    monkeypatch.setattr(optimization, "fast_dtype", lambda _: torch.bfloat16)
    assert torch.equal(muon_steps(lambda params: muon(params, 0.1, weight_decay=0.3)), expected)
    # In float32 they are the same but for the rounding of bfloat16, 1 part in 256.
    monkeypatch.setattr(optimization, "fast_dtype", lambda _: torch.float32)
    exact = muon_steps(lambda params: muon(params, 0.1, weight_decay=0.3))
    assert 0 < (exact - expected).abs().max() < 0.02


def test_muon_multiplies_in_what_the_device_does_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated bfloat16 would be several times slower than the rest of a training step."""
    for features, expected in [
        (frozenset(), torch.float32),
        (frozenset({"amx_bf16"}), torch.bfloat16),
    ]:
        monkeypatch.setattr(
            "aetherfusion.utils.hardware.fast_cpu_features", lambda found=features: found
        )
        assert orthogonalise(torch.randn(1, 4, 6)).dtype == expected
    for capability, expected in [((7, 5), torch.float32), ((8, 0), torch.bfloat16)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
        assert fast_dtype("cuda:0") == expected


def test_muon_takes_matrices_of_several_devices() -> None:
    here, there = (nn.Parameter(torch.ones(6, 8, device=device)) for device in ("cpu", "meta"))
    for p in (here, there):
        p.grad = torch.ones_like(p)
    muon([here, there]).step()
    assert (here < 1).all() and there.is_meta


def test_muon_refuses_what_is_not_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"got a parameter of shape \(3,\)"):
        muon([nn.Parameter(torch.zeros(3))])
    optimizer = muon([nn.Parameter(torch.zeros(3, 3))])
    optimizer.add_param_group({"params": nn.Parameter(torch.zeros(4)), "lr": 0.1})
    assert [group["lr"] for group in optimizer.param_groups] == [4e-3, 0.1]
    assert [group["muon"] for group in optimizer.param_groups] == [True, False]


def test_a_copy_of_the_recommended_optimizer_moves_the_copied_model() -> None:
    model = DiffusionTransformerUNet(image_size=8, embedding_dim=16, num_heads=2, depth=1)
    before = weights_of(model).clone()
    copied_model, copied = copy.deepcopy((model, recommended_optimizer(model)))
    for p in copied_model.parameters():
        p.grad = torch.ones_like(p)
    copied.step()
    assert not torch.equal(weights_of(copied_model), before)
    assert torch.equal(weights_of(model), before)


def test_recommended_optimizer_state_survives_a_round_trip() -> None:
    def three_steps(reload: bool) -> Tensor:
        torch.manual_seed(0)
        model = DiffusionTransformerUNet(image_size=8, embedding_dim=16, num_heads=2, depth=1)
        optimizer = recommended_optimizer(model)
        for k in range(3):
            if reload and k == 2:
                state = optimizer.state_dict()
                optimizer = recommended_optimizer(model)
                optimizer.load_state_dict(state)
            torch.manual_seed(k)
            model(torch.randn(2, 3, 8, 8), torch.rand(2)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return weights_of(model)

    assert torch.equal(three_steps(False), three_steps(True))


def test_network_computes_in_bf16_and_the_target_stays_in_float32() -> None:
    dtypes = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 1)

        def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            v = self.layer(xt)
            dtypes.append((xt.dtype, t.dtype, v.dtype))
            return v

    def criterion(prediction: Tensor, target: Tensor) -> Tensor:
        dtypes.append((prediction.dtype, target.dtype))
        return nn.functional.mse_loss(prediction, target)

    model = Spy()
    optimizer = optim.Adam(model.parameters())
    train(model, batches(), criterion, optimizer, 1, precision="bf16", progress=False)
    assert dtypes[0] == (torch.float32, torch.float32, torch.bfloat16)
    assert dtypes[1] == (torch.float32, torch.float32)
    # Afterwards the model is the caller's own again, without autocast.
    assert model(torch.zeros(1, 1, 4, 4), torch.zeros(1), None).dtype == torch.float32


def test_float16_scaler_skips_steps_that_overflow_and_goes_on() -> None:
    """The logic of a T4 on a CPU: the loss is scaled, and a step that overflows changes nothing."""
    model = Affine()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
    values, losses = [weights_of(model)], []
    for batch in batches(320):
        loss = gradient(model, [batch], thousandfold, scaler, torch.float32, 0.0)
        losses.append(clip_and_check(loss, optimizer, scaler, 1))
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        values.append(weights_of(model))
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(values)]
    assert not moved[0] and moved[-1], "the first steps overflow, the last do not"
    assert all(math.isfinite(loss) for loss in losses) and scaler.get_scale() < 2.0**127
    lengths = [(a - b).norm().item() for a, b in itertools.pairwise(values)]
    assert max(lengths) == pytest.approx(0.1, rel=1e-3), "the gradient is clipped to length 1"


def thousandfold(prediction: Tensor, target: Tensor) -> Tensor:
    return 1000 * nn.functional.mse_loss(prediction, target)
