"""Training: what is learnt, at which rate, and what is refused."""

import copy
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny import Affine, batches, run, weights_of
from torch import Tensor, nn, optim
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

import aetherfusion.training as training
from aetherfusion import (
    FLOW,
    DiffusionTransformerUNet,
    load_shapes10,
    make_loader,
    train,
    training_steps,
)
from aetherfusion.optimizer import (
    averaged_copy,
    learning_rate_factor,
    recommended_optimizer,
)
from aetherfusion.training import diffusion_loss
from aetherfusion.utils.hardware import make_accelerator
from aetherfusion.utils.history import History, Step
from aetherfusion.utils.runs import STATE_FILE

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


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_second_training_computes_in_its_precision_too(precision: str) -> None:
    model = DiffusionTransformerUNet(image_size=4, num_classes=2, embedding_dim=8, channels=1)
    inside: list[torch.dtype] = []
    model.unet.down.register_forward_hook(lambda _, __, out: inside.append(out.dtype))
    for used in ("no", precision, precision):
        inside.clear()
        run(model, epochs=1, precision=used)
        assert set(inside) == {torch.bfloat16 if used == "bf16" else torch.float32}


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

    def rates(**options: float) -> list[float]:
        kept = {"precision": "no", "progress": False} | options
        return train(model, batches(800), nn.MSELoss(), optimizer, 1, **kept).learning_rate

    falling = rates()  # in a hundred steps, of which ten warm up
    assert falling[:5] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])
    assert falling[10:] == pytest.approx([0.5 * (100 - k) / 100 for k in range(10, 100)])
    assert optimizer.param_groups[0]["lr"] == 0.5
    late = rates(decay=0.3)
    assert math.isclose(max(late), 0.5) and math.isclose(late[-1], 0.5 * (1 / 100) / 0.3)


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
        data = load_shapes10(40, image_size=8)
        data.flip = True  # the loader tosses a coin for every picture, from the same generator
        model = Affine(10)
        run(model, loader=make_loader(data, 8), callbacks=callbacks)
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


def test_asks_for_nothing_that_apples_gpus_lack() -> None:
    """By torch's own table of kernels: an operation of ours with none for them, or in float64."""
    gen = pytest.importorskip("torchgen.gen")
    folder = Path(gen.__file__).parent / "packaged" / "ATen" / "native"
    parsed = gen.parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))
    table = {str(f.func.name): f for f in parsed.native_functions}
    asked: set[str] = set()
    types: set[torch.dtype] = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types_, args=(), kwargs=None):  # type: ignore
            if func.namespace == "aten":
                asked.add(func._schema.name.removeprefix("aten::") + f".{func._overloadname}")
            answer = func(*args, **(kwargs or {}))
            types.update(x.dtype for x in tree_leaves(answer) if isinstance(x, Tensor))
            return answer

    model = DiffusionTransformerUNet(embedding_dim=16, num_heads=2, depth=1)
    optimizer, average = recommended_optimizer(model), averaged_copy(model)
    x0, labels = torch.rand(4, 3, 32, 32) * 2 - 1, torch.arange(4)
    with Watch():
        diffusion_loss(model, x0, labels, nn.MSELoss(), label_dropout=0.5, null_label=10).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)

    def there(name: str) -> bool:
        function = table[name.removesuffix(".default")]
        structured = function.structured_delegate
        made = function if structured is None else table[str(structured)]
        kernels = {
            str(key) for key, found in parsed.backend_indices.items() if found.has_kernel(made)
        }
        return any(key == "MPS" or key.startswith("Composite") for key in kernels)

    assert not there("special_ndtri") and there("erfinv")  # the table is read as it is meant
    assert len(asked) > 50 and [name for name in sorted(asked) if not there(name)] == []
    assert torch.float64 not in types


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
    [
        {"epochs": 0},
        {"accumulate": 0},
        {"checkpoint_every": 0},
        {"label_dropout": 1.5},
        {"decay": -0.1},
        {"decay": math.nan},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": -1.0},
        {"average_exponent": -1.0},
        {"average_exponent": math.nan},
    ],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=rf"{name.replace('epochs', 'num_epochs')}.*got.*{value}"):
        run(**options)


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(ValueError, match=r"seed must be a whole number, got 1\.5"):
        run(seed=1.5)


def test_an_optimizer_of_another_model_is_refused() -> None:
    model = Affine()
    optimizer = optim.Adam(Affine().parameters())
    with pytest.raises(ValueError, match="no parameter of this model; after making a model anew"):
        train(model, batches(), nn.MSELoss(), optimizer, 1, progress=False)


def test_a_loader_that_ends_before_its_length_is_refused() -> None:
    class Short:
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return islice(iter(batches()), 2)

    with pytest.raises(ValueError, match="ended after 2 of the 6 steps that len"):
        run(loader=Short())


def test_images_of_other_floats_are_seen_as_float32() -> None:
    images = torch.rand(8, 1, 4, 4) * 2 - 1
    model = Affine()
    losses = [
        run(copy.deepcopy(model), loader=loader_of(images.to(dtype), ZEROS)).loss
        for dtype in (torch.float32, torch.float64)
    ]
    assert losses[0] == losses[1]
    in_double = run(copy.deepcopy(model).double(), loader=loader_of(images.double(), ZEROS))
    assert in_double.loss == pytest.approx(losses[0], rel=0.5)


def test_a_learning_rate_keeps_its_kind() -> None:
    model = Affine()
    optimizer = optim.Adam(model.parameters(), lr=torch.tensor(0.01), foreach=False)
    history = train(model, batches(), nn.MSELoss(), optimizer, 1, precision="no", progress=False)
    assert isinstance(optimizer.param_groups[0]["lr"], Tensor)
    assert all(isinstance(rate, float) for rate in history.learning_rate)


def test_a_history_without_steps_has_no_plot() -> None:
    with pytest.raises(ValueError, match="nothing to plot yet"):
        History().plot()
