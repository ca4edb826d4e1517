"""Training: what is learnt, at which rate, and what is refused."""

import contextlib
import copy
import math
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny import Affine, batches, run, weights_of
from torch import Tensor, nn, optim
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

from aetherfusion import (
    COSINE,
    FLOW,
    DiffusionTransformerUNet,
    NoisePath,
    load_shapes10,
    make_loader,
    sample_times,
    train,
    training_steps,
)
from aetherfusion.diffusion import SamplingSettings, recommended_sampling
from aetherfusion.optimizer import (
    averaged_copy,
    learning_rate_factor,
    recommended_optimizer,
)
from aetherfusion.training import clip_and_check, diffusion_loss, gradient
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


def test_long_gradients_are_clipped_to_length_one() -> None:
    model = Affine()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    before = weights_of(model)

    def huge(prediction: Tensor, target: Tensor) -> Tensor:
        return 1e6 * nn.functional.mse_loss(prediction, target)

    steps = training_steps(model, batches(), huge, optimizer, 1, precision="no", decay=0)
    with contextlib.closing(steps):
        next(steps)
        assert math.isclose((weights_of(model) - before).norm().item(), 1.0, rel_tol=1e-4)


def test_accumulated_batches_give_the_gradient_of_their_mean() -> None:
    """The random numbers go on from batch to batch, so a batch alone is found by difference."""
    model = Affine()
    parts = [next(iter(batches(8, 8))) for _ in range(3)]
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def summed(number: int, skip: int = 0) -> Tensor:
        torch.manual_seed(0)
        for _ in range(skip):  # what the batches before have drawn
            sample_times(8), torch.randn(8, 1, 4, 4), torch.rand(8)
        model.zero_grad()
        some = parts[skip : skip + number]
        gradient(model, some, nn.MSELoss(), scaler, torch.float32, 0.0)
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    alone = [summed(1, skip=k) for k in range(3)]
    assert (alone[0] - alone[1]).abs().max() > 0.01
    assert torch.allclose(summed(3), torch.stack(alone).mean(0), atol=1e-6)


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
            r"images must span \[-1, 1\], got \[0\.",
        ),
        (loader_of(torch.randn(8, 1, 4, 4) * 50, ZEROS), r"images must span \[-1, 1\]"),
        (
            loader_of(torch.zeros(8, 4, 4), ZEROS),
            r"got 2 parts \(float32 \(4, 4, 4\); int64 \(4,\)",
        ),
        (loader_of(torch.rand(8, 1, 4, 4) * 2 - 1, ZEROS + 2), r"labels must be in \[0, 2\)"),
        (loader_of(torch.rand(8, 1, 4, 4) * 2 - 1, ZEROS - 1), r"labels must be in \[0, 2\)"),
        (DataLoader(TensorDataset(ZEROS, ZEROS), 16, drop_last=True), "at least one batch"),
        (iter([]), "trainloader must have a length"),
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
        {"accumulate": math.inf},
        {"checkpoint_every": 0},
        {"max_steps": -1},
        {"label_dropout": 1.5},
        {"decay": -0.1},
        {"decay": math.nan},
        {"seed": 1.5},
    ],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=rf"{name.replace('epochs', 'num_epochs')}.*got.*{value}"):
        run(**options)


def test_an_optimizer_of_another_model_is_refused() -> None:
    model = Affine()
    optimizer = optim.Adam(Affine().parameters())
    with pytest.raises(ValueError, match="holds no parameter of this model"):
        train(model, batches(), nn.MSELoss(), optimizer, 1, progress=False)


def test_a_loader_that_ends_before_its_length_is_refused() -> None:
    class Short:
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return islice(iter(batches()), 2)

    with pytest.raises(ValueError, match="ended after 2 of 6 steps"):
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


IMAGES = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"pixels": x, "label": 0} for x in IMAGES], "a dict with the keys 'pixels', 'label'"),
        ([(x, 0, "a.png") for x in IMAGES], "3 parts"),
        (list(IMAGES), r"got float32 \(4, 1, 4, 4\)"),
        ([(x, torch.eye(2)[0]) for x in IMAGES], r"argmax\(1\) for one-hot labels"),
        ([(x, 0.0) for x in IMAGES], r"labels\.long\(\)"),
        ([((255 * x.abs()).byte(), 0) for x in IMAGES], "floats in"),
    ],
    ids=["dict", "three parts", "images alone", "one-hot", "float labels", "bytes"],
)
def test_batches_of_another_kind_are_named(rows: list, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        run(loader=DataLoader(rows, 4), checkpoint_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing is written for a run that cannot begin"


def test_labels_may_be_integers_of_any_size() -> None:
    losses = []
    for dtype in (torch.int64, torch.uint8, torch.int16, torch.int32):
        torch.manual_seed(0)
        losses.append(run(loader=loader_of(IMAGES, ZEROS.to(dtype))).loss)
    assert all(loss == losses[0] for loss in losses)


def test_a_criterion_that_gives_no_single_number_is_refused() -> None:
    model = Affine()
    optimizer = optim.Adam(model.parameters())
    for criterion, words in [
        (nn.MSELoss, r"a class: write MSELoss\(\)"),
        (nn.MSELoss(reduction="none"), r"one number, got shape \(8, 1, 4, 4\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            train(model, batches(), criterion, optimizer, 1, progress=False)  # type: ignore


def test_training_under_no_grad_trains_all_the_same() -> None:
    plain, under = Affine(), Affine()
    under.load_state_dict(plain.state_dict())
    run(plain)
    with torch.no_grad():
        run(under)
    assert torch.equal(weights_of(plain), weights_of(under))


def test_nothing_to_train_is_refused() -> None:
    with torch.inference_mode():
        made_there = Affine()
    for model in (Affine().requires_grad_(False), made_there):
        with pytest.raises(ValueError, match="no parameter of this model that can be trained"):
            run(model)


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")]
)
def test_a_wrapped_model_trains_as_the_plain_one(wrap: Callable, tmp_path: Path) -> None:
    """Also when the run is begun in one and continued in the other."""
    plain, begun, continued = Affine(), Affine(), Affine()
    for model in (begun, continued):
        model.load_state_dict(plain.state_dict())
    run(plain)

    def stop(step: Step) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    for first, second, folder in [(wrap(begun), begun, "a"), (continued, wrap(continued), "b")]:
        with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of 8"):
            run(first, checkpoint_dir=tmp_path / folder, callbacks=[stop])
        assert len(run(second, checkpoint_dir=tmp_path / folder)) == 8
    assert torch.equal(weights_of(plain), weights_of(begun))
    assert torch.equal(weights_of(plain), weights_of(continued))


def test_a_young_model_is_sampled_in_even_steps() -> None:
    model, young = Affine(), recommended_sampling(640)
    during = []
    run(model, callbacks=[lambda step: during.append(step.averaged_model.sampling)])
    assert model.sampling == young and set(during) == {young} and young.tail == 0
    pixels = -torch.ones(250_000, 1, 1, 1), torch.zeros(250_000, dtype=torch.long)
    run(model, 1, loader=DataLoader([pixels] * 4, batch_size=None))
    assert model.sampling == SamplingSettings(), "a million images have been seen"
    model.sampling = SamplingSettings(steps=3)  # as it may have from a long training before
    run(model)
    assert model.sampling.steps == 3


def test_the_model_says_on_which_path_it_is_trained() -> None:
    """A network that knows the image has no loss on its own path, and some on the other."""
    x0 = torch.full((8, 1, 4, 4), 0.5)
    x0[::2] = -0.5

    class Knows(Affine):
        def __init__(self, path: NoisePath) -> None:
            super().__init__()
            self.path = path

        def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            image = torch.where(labels == 1, 0.5, -0.5)[:, None, None, None].expand_as(xt)
            return COSINE.velocity_from_x0(xt, image, t) + 0 * self.a

    loader = DataLoader(TensorDataset(x0, torch.arange(8) % 2 == 0), 8)
    loader = DataLoader(TensorDataset(x0, (torch.arange(8) % 2).long()), 8)
    assert run(Knows(COSINE), loader=loader, label_dropout=0, epochs=1).loss[0] < 1e-6
    assert run(Knows(FLOW), loader=loader, label_dropout=0, epochs=1).loss[0] > 0.1


def test_a_run_may_end_after_so_many_steps() -> None:
    history = run(epochs=100, max_steps=6)
    assert len(history) == 6 and history.epoch == [0, 0, 0, 0, 1, 1]
    assert history.learning_rate[-1] == pytest.approx(0.01 / 6), "the schedule ends there too"


def test_the_stop_button_works_while_the_loop_is_suspended() -> None:
    """A generator that waits for its next step holds no signal handler."""
    model = Affine()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    optimizer = optim.Adam(model.parameters())
    steps = training_steps(model, batches(), nn.MSELoss(), optimizer, 1, precision="no")
    next(steps)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    steps.close()


def test_the_history_is_kept_after_an_interruption() -> None:
    history = History()

    def stop(step: Step) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(history=history, callbacks=[stop])
    assert len(history) == 3


def test_a_step_waits_for_the_gpu_once() -> None:
    """Reading a value makes a GPU wait: losses and gradients are read together, at the end."""
    reads: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types_, args=(), kwargs=None):  # type: ignore
            if "_local_scalar_dense" in str(func):
                reads.append(str(func))
            return func(*args, **(kwargs or {}))

    model, scaler = Affine(), torch.amp.GradScaler("cpu", enabled=False)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    some = [next(iter(batches())) for _ in range(2)]
    with Watch():
        loss = gradient(model, some, nn.MSELoss(), scaler, torch.float32, 0.1)
        assert not reads
        clip_and_check(loss, optimizer, scaler, 1)
        assert not reads, "the two values are read as one tensor"
        loss.item()
    assert len(reads) == 1, "this test sees reads"


def test_gradients_of_before_and_of_other_weights_change_nothing() -> None:
    """Only what the optimizer moves is clipped, and what lies in `.grad` at first is cleared."""
    results = []
    for disturbed in (False, True):
        torch.manual_seed(0)
        model = Affine()
        model.idle = nn.Parameter(torch.zeros(3))
        if disturbed:
            for p in model.parameters():
                p.grad = torch.full_like(p, 100.0)
        optimizer = optim.SGD([model.a, model.b], lr=0.1)
        train(model, batches(), nn.MSELoss(), optimizer, 2, precision="no", progress=False)
        results.append(weights_of(model))
    assert torch.equal(*results)
