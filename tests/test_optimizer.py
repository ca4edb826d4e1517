"""What moves the weights, and in which arithmetic."""

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from tiny import Affine, batches, weights_of
from torch import Tensor, nn, optim

import aetherfusion.optimizer as optimization
import aetherfusion.training as training
from aetherfusion import (
    DiffusionTransformerUNet,
    recommended_optimizer,
    train,
    training_steps,
)
from aetherfusion.optimizer import Muon, orthogonalised
from aetherfusion.utils.hardware import choose_precision, fast_dtype, make_accelerator
from aetherfusion.utils.runs import STATE_FILE

# Optimizer


def test_recommended_optimizer_shares_out_every_parameter_once() -> None:
    model = DiffusionTransformerUNet(embedding_dim=16, num_heads=2, depth=2)
    optimizer = recommended_optimizer(model, lr=1e-3)
    owned = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(owned) == len({id(p) for p in owned}) == len(list(model.parameters()))
    matrices = optimizer.parts[0].param_groups[0]["params"]
    assert len(matrices) == 2 * 4 and all(p.ndim == 2 for p in matrices)
    optimizer.param_groups[0]["lr"] = 7.0
    assert optimizer.parts[0].param_groups[0]["lr"] == 7.0
    with pytest.raises(ValueError, match=r"anew, of all of them: recommended_optimizer\(model\)"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize("shape", [(12, 12), (6, 20), (20, 6)])
def test_orthogonalised_puts_each_singular_value_through_the_polynomial(
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
    found = orthogonalised(matrices)
    assert found.dtype == torch.float32
    assert (found - u @ s.diag_embed() @ vh).abs().max() < 1e-4
    assert torch.equal(orthogonalised(torch.zeros(1, *shape)), torch.zeros(1, *shape))


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
    assert torch.equal(muon_steps(lambda params: Muon(params, 0.1, weight_decay=0.3)), expected)
    # In float32 they are the same but for the rounding of bfloat16, 1 part in 256.
    monkeypatch.setattr(optimization, "fast_dtype", lambda _: torch.float32)
    exact = muon_steps(lambda params: Muon(params, 0.1, weight_decay=0.3))
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
        assert orthogonalised(torch.randn(1, 4, 6)).dtype == expected
    for capability, expected in [((7, 5), torch.float32), ((8, 0), torch.bfloat16)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert fast_dtype("cuda:0") == expected


def test_muon_takes_matrices_of_several_devices() -> None:
    here, there = (nn.Parameter(torch.ones(6, 8, device=device)) for device in ("cpu", "meta"))
    for p in (here, there):
        p.grad = torch.ones_like(p)
    Muon([here, there]).step()
    assert (here < 1).all() and there.is_meta


def test_muon_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"got a parameter of shape \(3,\).*recommended_optimizer"):
        Muon([nn.Parameter(torch.zeros(3))])
    muon = Muon([nn.Parameter(torch.zeros(3, 3))])
    with pytest.raises(ValueError, match=r"got a parameter of shape \(4,\)"):
        muon.add_param_group({"params": nn.Parameter(torch.zeros(4))})
    assert len(muon.param_groups) == 1
    muon.add_param_group({"params": nn.Parameter(torch.zeros(4, 2)), "lr": 0.1})
    assert [group["lr"] for group in muon.param_groups] == [4e-3, 0.1]
    with pytest.raises(ValueError, match="no closure"):
        muon.step(lambda: None)


def test_a_copy_of_the_recommended_optimizer_steps_and_steers() -> None:
    model = DiffusionTransformerUNet(image_size=8, embedding_dim=16, num_heads=2, depth=1)
    before = weights_of(model).clone()
    copied_model, copied = copy.deepcopy((model, recommended_optimizer(model)))
    copied.param_groups[0]["lr"] = 0.5
    assert copied.parts[0].param_groups[0]["lr"] == 0.5
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


# Precision


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), "no"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
)
def test_precision_of_a_gpu_is_what_it_does_fast(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A T4 (7.5) says yes to this question, by emulation: it must not be asked.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    choice = choose_precision("cuda", capability=capability)
    assert choice.mixed_precision == expected
    assert f"{capability[0]}.{capability[1]}" in choice.reason
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert choose_precision("cuda:0").mixed_precision == expected


def test_precision_of_a_cpu_is_what_it_does_fast() -> None:
    assert choose_precision("cpu", cpu_features=frozenset()).mixed_precision == "no"
    for feature in ("avx512_bf16", "amx_bf16"):
        choice = choose_precision("cpu", cpu_features=frozenset({feature}))
        assert choice.mixed_precision == "bf16" and feature in choice.reason
    assert choose_precision("mps").mixed_precision == "no"


def test_another_precision_in_the_same_process() -> None:
    for precision in ("no", "bf16", "no"):
        assert make_accelerator(precision).mixed_precision == precision
    with pytest.raises(ValueError, match="needs a GPU"):
        make_accelerator("fp16")
    with pytest.raises(ValueError, match="must be 'bf16', 'fp16', 'no' or None"):
        make_accelerator("fp8")  # type: ignore[arg-type]


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


def test_float16_scaler_skips_overflow_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The logic of a T4, on a CPU: the loss is scaled, and steps that overflow change nothing."""
    scales: list[float] = []

    def with_scaler(precision: object, *, seed: int = 0) -> Accelerator:
        # Accelerate refuses fp16 without a GPU: made here as it would be with one.
        accelerator = make_accelerator("no", seed=seed)
        accelerator.state._mixed_precision = "fp16"
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
        return accelerator

    monkeypatch.setattr(training, "make_accelerator", with_scaler)
    model = Affine()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def criterion(prediction: Tensor, target: Tensor) -> Tensor:
        return 1000 * nn.functional.mse_loss(prediction, target)

    steps = training_steps(
        model, batches(320), criterion, optimizer, 1, checkpoint_dir=tmp_path, warmup_steps=0
    )
    values = [weights_of(model)]
    for step in steps:
        values.append(weights_of(model))
        scales.append(step.loss)
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(values)]
    assert not moved[0] and moved[-1], "the first steps overflow, the last do not"
    assert all(math.isfinite(loss) for loss in scales)
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    assert state["scaler"]["scale"] < 2.0**127
