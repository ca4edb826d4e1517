"""Training: what is learnt, that it can be killed and resumed, and what it refuses."""

import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

import aetherfusion.training as training
from aetherfusion import (
    FLOW,
    DiffusionTransformerUNet,
    History,
    load_shapes10,
    make_loader,
    recommended_optimizer,
    train,
    training_steps,
)
from aetherfusion.optimization import averaged_copy, learning_rate_factor
from aetherfusion.precision import choose_precision, make_accelerator
from aetherfusion.progress import Step
from aetherfusion.training_state import STATE_FILE, load_state, save_state


class Affine(nn.Module):
    """The smallest model there is: v = a xt + b + c[label], the same for every pixel."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.null_label = num_classes
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))
        self.c = nn.Embedding(num_classes + 1, 1)
        self.seen: list[Tensor] = []

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.seen.append(labels.detach().clone())
        return self.a * xt + self.b + self.c(labels)[:, :, None, None]


def batches(num_images: int = 32, batch_size: int = 8, num_classes: int = 2) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_images, 1, 4, 4, generator=generator) * 2 - 1
    labels = torch.randint(0, num_classes, (num_images,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size, shuffle=True)


def run(model: nn.Module | None = None, epochs: int = 2, **options: object) -> History:
    model = Affine() if model is None else model
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    options = {"precision": "no", "progress": False, **options}
    loader = options.pop("loader") if "loader" in options else batches()
    return train(model, loader, nn.MSELoss(), optimizer, epochs, **options)  # type: ignore[arg-type]


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# What is learnt


def test_finds_the_best_affine_velocity_of_gaussian_data() -> None:
    """For x0 ~ N(m, s^2) the best v = a xt + b over all t is known: a regression by hand."""
    torch.manual_seed(0)
    mean, std = 0.2, 0.2
    x0 = (mean + std * torch.randn(4096, 1, 4, 4)).clamp(-1, 1)
    loader = DataLoader(TensorDataset(x0, torch.zeros(4096, dtype=torch.long)), 256, shuffle=True)
    # Among times of logit-normal density, by quadrature: E over t of E over (x0, noise).
    t = torch.special.ndtri((torch.arange(20_000) + 0.5) / 20_000).sigmoid().double()
    ex, ev = (1 - t) * mean, -mean * torch.ones_like(t)
    exx = ((1 - t) * std) ** 2 + t**2 + ex**2
    exv = t - (1 - t) * std**2 + ex * ev
    cov = exv.mean() - ex.mean() * ev.mean()
    a = cov / (exx.mean() - ex.mean() ** 2)
    b = ev.mean() - a * ex.mean()

    model = Affine(1)
    with torch.no_grad():
        model.c.weight.zero_()
    model.c.requires_grad_(False)
    optimizer = optim.Adam([model.a, model.b], lr=0.05)
    train(model, loader, nn.MSELoss(), optimizer, 20, precision="no", progress=False)
    assert abs(model.a.item() - a.item()) < 0.02
    assert abs(model.b.item() - b.item()) < 0.02


def test_five_lines_learn_shapes() -> None:
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(image_size=16, num_classes=10, embedding_dim=32, num_heads=4)
    trainloader = make_loader(load_shapes10(512, image_size=16), 32)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    history = train(model, trainloader, criterion, optimizer, num_epochs=10, progress=False)
    assert len(history) == 160 and history.images_seen() == 160 * 32
    # Predicting nothing costs var(noise) + mean(x0^2), above 1.
    assert history.loss[0] > 1
    assert history.recent_loss(16) < 0.6


def test_history_plots_itself() -> None:
    import matplotlib

    matplotlib.use("Agg")
    history = run()
    ax = history.plot()
    assert ax.get_xlabel() == "images seen"
    assert list(ax.lines[0].get_ydata()) == history.loss
    assert list(ax.lines[0].get_xdata()) == [8 * k for k in range(1, 9)]


def test_label_dropout_replaces_the_share_that_it_says() -> None:
    for dropout, low, high in [(0.0, 0.0, 0.0), (0.25, 0.15, 0.35), (1.0, 1.0, 1.0)]:
        model = Affine()
        run(model, epochs=16, label_dropout=dropout)
        share = (torch.cat(model.seen) == model.null_label).float().mean().item()
        assert low <= share <= high, (dropout, share)


def test_a_model_without_classes_sees_only_the_null_label() -> None:
    model = Affine(0)
    run(model)
    assert (torch.cat(model.seen) == 0).all()


def test_weights_afterwards_are_the_power_average() -> None:
    """Against the definition: step k counts as (k / n) ** 8, to the order of 1 / n."""
    passed = []
    model = Affine()
    loader = batches(320, 8)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    steps = training_steps(model, loader, nn.MSELoss(), optimizer, 5, precision="no")
    for _ in steps:
        passed.append(weights_of(model))
    n = len(passed)
    assert n == 200
    # The recursion mean += (1 - (k / (k + 1)) ** 9) (w - mean) has exactly these weights.
    share = torch.tensor([(k / n) ** 9 - ((k - 1) / n) ** 9 for k in range(1, n + 1)])
    expected = (share[:, None] * torch.stack(passed)).sum(0)
    assert (weights_of(model) - expected).abs().max() < 1e-5
    assert (weights_of(model) - passed[-1]).abs().max() > 1e-4


def test_average_without_exponent_is_the_mean() -> None:
    model = nn.Linear(2, 1, bias=False)
    average = averaged_copy(model, exponent=0)
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
    assert torch.allclose(average.module.weight, torch.full((1, 2), 3.0))


def test_learning_rate_goes_up_level_and_down() -> None:
    factors = [learning_rate_factor(k, 1000, warmup_steps=50, decay=0.5) for k in range(1000)]
    assert factors[0] == 1 / 50 and factors[24] == 0.5 and factors[49] == 1
    assert set(factors[49:501]) == {1.0}
    assert math.isclose(factors[750], 0.5) and math.isclose(factors[999], 1 / 500)
    assert learning_rate_factor(0, 10) == 1  # a short run is not all warm-up
    assert {learning_rate_factor(k, 100, decay=0) for k in range(10, 100)} == {1.0}


def test_learning_rate_is_the_callers_and_is_given_back() -> None:
    model = Affine()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    history = train(model, batches(800), nn.MSELoss(), optimizer, 1, precision="no", progress=False)
    assert math.isclose(max(history.learning_rate), 0.5) and optimizer.param_groups[0]["lr"] == 0.5
    assert math.isclose(history.learning_rate[-1], 0.5 * 0.02)


def test_long_gradients_are_shortened() -> None:
    model = Affine()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    before = weights_of(model)

    def huge(prediction: Tensor, target: Tensor) -> Tensor:
        return 1e6 * nn.functional.mse_loss(prediction, target)

    steps = training_steps(
        model, batches(), huge, optimizer, 1, precision="no", max_grad_norm=0.5, warmup_steps=0
    )
    next(steps)
    assert math.isclose((weights_of(model) - before).norm().item(), 0.5, rel_tol=1e-4)
    steps.close()


def test_accumulated_batches_give_the_gradient_of_their_mean() -> None:
    model = Affine()
    accelerator = make_accelerator("no")
    parts = [next(iter(batches(8, 8))) for _ in range(3)]

    def gradient(micro_batches: list) -> Tensor:
        model.zero_grad()
        torch.manual_seed(0)
        training._gradients(accelerator, model, micro_batches, nn.MSELoss(), FLOW, 0.0)
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    # The random numbers go on from part to part, so the parts alone are found by difference.
    first, two, three = (gradient(parts[:k]) for k in (1, 2, 3))
    torch.manual_seed(0)
    second = 2 * two - first
    assert (3 * three - first - second).abs().max() > 0
    model.zero_grad()
    torch.manual_seed(0)
    with torch.no_grad():
        training_random = [training.sample_times(8), torch.randn(8, 1, 4, 4), torch.rand(8)]
    assert len(training_random) == 3  # the draws of the first part
    training._gradients(accelerator, model, parts[1:2], nn.MSELoss(), FLOW, 0.0)
    alone = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert (alone - second).abs().max() < 1e-5


def test_what_a_callback_draws_changes_nothing() -> None:
    results = []
    for callbacks in ([], [lambda step: torch.rand(step.step)]):
        torch.manual_seed(0)
        model = Affine()
        run(model, callbacks=callbacks)
        results.append(weights_of(model))
    assert torch.equal(*results)


def test_a_bright_picture_and_nan() -> None:
    bright = loader_of(torch.full((8, 1, 4, 4), 0.5), ZEROS)
    run(loader=bright)  # four at a time: they may be bright by chance
    with pytest.raises(ValueError, match=r"got .nan, nan"):
        run(loader=loader_of(torch.full((8, 1, 4, 4), math.nan), ZEROS))


def test_accumulation_makes_fewer_steps() -> None:
    assert len(run(accumulate=1, epochs=1)) == 4
    assert len(run(accumulate=3, epochs=1)) == 2  # three batches, then the one that is left
    assert run(accumulate=3, epochs=1).images == [24, 8]


def test_generator_tells_of_steps_that_are_done() -> None:
    model = Affine()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    before = weights_of(model)
    steps = training_steps(model, batches(), nn.MSELoss(), optimizer, 1, precision="no")
    step = next(steps)
    assert isinstance(step, Step) and step.step == 1 and step.total_steps == 4
    after = weights_of(model)
    assert (after - before).abs().max() > 0
    assert torch.equal(weights_of(step.averaged_model), after)  # the mean of one
    steps.close()
    assert not model.training


def test_callers_random_numbers_are_untouched() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loader = batches()
    run(Affine(), loader=loader)
    torch.manual_seed(5)
    model = Affine()
    torch.manual_seed(5)
    run(model, loader=loader)
    assert torch.equal(torch.rand(3), expected)


# Optimizer


def test_recommended_optimizer_shares_out_every_parameter_once() -> None:
    model = DiffusionTransformerUNet(embedding_dim=16, num_heads=2, depth=2)
    optimizer = recommended_optimizer(model, lr=1e-3)
    owned = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(owned) == len({id(p) for p in owned}) == len(list(model.parameters()))
    if hasattr(torch.optim, "Muon"):
        matrices = optimizer.parts[0].param_groups[0]["params"]
        assert len(matrices) == 2 * 4 and all(p.ndim == 2 for p in matrices)
        optimizer.param_groups[0]["lr"] = 7.0
        assert optimizer.parts[0].param_groups[0]["lr"] == 7.0


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


# Killed and resumed

SCRIPT = """
import sys, time, torch
from torch import nn, optim
from torchvision import transforms
from aetherfusion import DiffusionTransformerUNet, load_shapes10, recommended_optimizer, train

class Pictures(torch.utils.data.Dataset):
    # An ordinary data set, whose transform draws random numbers of its own.
    def __init__(self):
        self.images, self.labels = load_shapes10(48, image_size=8).images, load_shapes10(48).labels
        self.change = transforms.Compose([
            transforms.ToPILImage(), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    def __len__(self):
        return len(self.images)
    def __getitem__(self, i):
        return self.change(self.images[i]), int(self.labels[i])

class WithDropout(DiffusionTransformerUNet):
    def forward(self, xt, t, labels=None):
        return super().forward(nn.functional.dropout(xt, 0.1, self.training), t, labels)

torch.manual_seed(0)
torch.set_num_threads(1)
model = WithDropout(image_size=8, embedding_dim=16, num_heads=2, depth=1)
loader = torch.utils.data.DataLoader(Pictures(), batch_size=8, shuffle=True)
pause = float(sys.argv[2])
train(model, loader, nn.MSELoss(), recommended_optimizer(model), 4, checkpoint_dir=sys.argv[1],
      checkpoint_every=5, progress=False, callbacks=[lambda step: print(step.step, flush=True)
      or time.sleep(pause)])
torch.save(model.state_dict(), sys.argv[1] + "/final.pt")
"""


def start(directory: Path, pause: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(directory), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_at_a_random_step_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole, 0)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    at = random.randint(6, 22)
    process = start(killed, 0.02)
    for line in process.stdout:
        if int(line) == at:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    process = start(killed, 0)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    steps = [int(line) for line in out.split()]
    assert steps[0] % 5 == 1 and steps[0] <= at + 2 and steps[-1] == 24, (at, steps)
    first, second = (torch.load(d / "final.pt", weights_only=True) for d in (whole, killed))
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"killed after step {at}: {different}"


def test_same_seed_same_weights_other_seed_others() -> None:
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        model = Affine()
        run(model, seed=seed)
        results.append(weights_of(model))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_resume_with_accumulation_and_our_loader(tmp_path: Path) -> None:
    def go(directory: Path | None, stop: int | None) -> Tensor:
        torch.manual_seed(0)
        model = DiffusionTransformerUNet(image_size=8, embedding_dim=16, num_heads=2, depth=1)
        data = load_shapes10(40, image_size=8)
        data.flip = True
        optimizer = recommended_optimizer(model)
        steps = training_steps(
            model, make_loader(data, 8), nn.MSELoss(), optimizer, 3,
            accumulate=2, checkpoint_dir=directory, precision="no",
        )  # fmt: skip
        for step in steps:
            if step.step == stop:
                break
        steps.close()
        return weights_of(model)

    expected = go(None, None)
    assert not torch.equal(go(tmp_path, 5), expected)
    assert torch.equal(go(tmp_path, 7), go(tmp_path, None)) is False
    assert torch.equal(go(tmp_path, None), expected)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first, second = Affine(), Affine()
    history = run(first, checkpoint_dir=tmp_path)
    calls: list[Step] = []
    again = run(second, checkpoint_dir=tmp_path, callbacks=[calls.append])
    assert not calls and again.loss == history.loss
    assert torch.equal(weights_of(first), weights_of(second))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_keeps_the_state_and_says_so(tmp_path: Path, number: int) -> None:
    def interrupt(step: Step) -> None:
        if step.step == 3:
            os.kill(os.getpid(), number)
            time.sleep(0.01)

    torch.manual_seed(0)
    model = Affine()
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of 8; run the same again"):
        run(model, checkpoint_dir=tmp_path, callbacks=[interrupt])
    assert signal.getsignal(number) is handler
    assert torch.load(tmp_path / STATE_FILE, weights_only=True)["done"] == 3
    run(model, checkpoint_dir=tmp_path)
    torch.manual_seed(0)
    other = Affine()
    run(other)
    assert torch.equal(weights_of(model), weights_of(other))


def test_state_of_another_run_is_refused(tmp_path: Path) -> None:
    run(checkpoint_dir=tmp_path)
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(ValueError, match="belongs to another run: num_epochs was 2 and is now 3"):
        run(checkpoint_dir=tmp_path, epochs=3)
    with pytest.raises(ValueError, match="seed was 0 and is now 1"):
        run(checkpoint_dir=tmp_path, seed=1)
    assert (tmp_path / STATE_FILE).read_bytes() == before


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    run(checkpoint_dir=tmp_path)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="is damaged or not a training state"):
        run(checkpoint_dir=tmp_path)


def test_state_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"run": {}, "evil": Evil()}, tmp_path / STATE_FILE)
    with pytest.raises(ValueError, match="is damaged or not a training state"):
        load_state(tmp_path, {})
    assert not (tmp_path / "ran").exists()


def test_full_disk_leaves_the_last_state_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path, {"run": {}, "done": 1})

    def full(state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"No space left.*last state that was written is still good"):
        save_state(tmp_path, {"run": {}, "done": 2})
    monkeypatch.undo()
    assert load_state(tmp_path, {})["done"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


# What it refuses


def test_loss_that_is_not_finite_stops_and_keeps_the_good_state(tmp_path: Path) -> None:
    calls = 0

    def criterion(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return nn.functional.mse_loss(prediction, target) * (math.nan if calls == 6 else 1)

    model = Affine()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    with pytest.raises(FloatingPointError, match=r"not finite at step 6 \(loss nan\)"):
        train(
            model, batches(), criterion, optimizer, 2,
            precision="no", checkpoint_dir=tmp_path, progress=False,
        )  # fmt: skip
    assert weights_of(model).isfinite().all()
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    assert state["done"] == 5 and all(v.isfinite().all() for v in state["model"].values())


def test_gradient_that_is_not_finite_stops_before_it_is_used() -> None:
    def criterion(prediction: Tensor, target: Tensor) -> Tensor:
        # Finite itself, with a gradient of 0 * inf.
        return (prediction - prediction.detach()).abs().sqrt().sum() + 1

    model = Affine()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    with pytest.raises(FloatingPointError, match="not finite at step 1"):
        train(model, batches(), criterion, optimizer, 1, precision="no", progress=False)
    assert weights_of(model).isfinite().all()


def loader_of(images: Tensor, labels: Tensor) -> DataLoader:
    return DataLoader(TensorDataset(images, labels), batch_size=4)


ZEROS = torch.zeros(8, dtype=torch.long)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (
            DataLoader(TensorDataset(torch.rand(8, 1, 4, 4), ZEROS), 8),
            r"images must be in \[-1, 1\]; these, from 0\.",
        ),
        (loader_of(torch.randn(8, 1, 4, 4) * 50, ZEROS), r"images must be in \[-1, 1\]"),
        (loader_of(torch.zeros(8, 4, 4), ZEROS), r"trainloader must give images \(B, C, H, W\)"),
        (loader_of(torch.rand(8, 1, 4, 4) * 2 - 1, ZEROS + 2), r"labels must be in \[0, 2\)"),
        (loader_of(torch.rand(8, 1, 4, 4) * 2 - 1, ZEROS - 1), r"labels must be in \[0, 2\)"),
        (DataLoader(TensorDataset(ZEROS, ZEROS), 16, drop_last=True), "trainloader has no batch"),
        (iter([]), "trainloader must know its length"),
    ],
)
def test_unfit_batches_are_refused(loader: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(loader=loader)


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"accumulate": 0}, {"checkpoint_every": 0}, {"label_dropout": 1.5}],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        run(**options)
