"""Pictures on demand: what is asked for, from which noise, and nothing left behind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from aetherfusion.data import CIFAR10_CLASSES
from aetherfusion.diffusion import COSINE, SamplingSettings
from aetherfusion.generation import (
    denoising_trajectory,
    generate_images,
    label_numbers,
    starting_noise,
)
from aetherfusion.model import DiffusionTransformerUNet
from aetherfusion.sampling import SamplerStep, ddim, dpmpp_2m, heun


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


def tiny_model(num_classes: int = 10, **options: Any) -> DiffusionTransformerUNet:
    """Not trained, but nothing in it is zero, and every label makes a difference."""
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(8, num_classes, 8, 2, depth=1, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.weight.mul_(5)
    return model


@pytest.fixture(scope="module")
def model() -> DiffusionTransformerUNet:
    return tiny_model()


@contextmanager
def calls(model: nn.Module) -> Iterator[list[tuple[int, float, list[int]]]]:
    """(images, time, labels) of every call of the model."""
    seen: list[tuple[int, float, list[int]]] = []

    def record(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        xt, t, labels = args
        assert t.shape == labels.shape == (len(xt),) and t.min() == t.max()
        seen.append((len(xt), float(t[0]), labels.tolist()))

    hook = model.register_forward_pre_hook(record)
    try:
        yield seen
    finally:
        hook.remove()


def numbers(model: nn.Module, labels: Any, num: int) -> list[int]:
    return label_numbers(model, labels, num).tolist()


def test_labels_as_people_write_them(model: DiffusionTransformerUNet) -> None:
    assert numbers(model, None, 12) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert numbers(model, None, 3) == [0, 1, 2]
    assert numbers(model, 7, 3) == [7, 7, 7]
    assert numbers(model, "horse", 2) == [7, 7]
    assert numbers(model, " Horse ", 1) == [7]
    assert numbers(model, "7", 1) == [7]
    assert numbers(model, ["cat", "dog"], 5) == [3, 5, 3, 5, 3]
    assert numbers(model, (9, "frog", 0), 4) == [9, 6, 0, 9]
    assert numbers(model, (n for n in [1, 2]), 2) == [1, 2]
    assert numbers(model, torch.tensor([4, 2]), 3) == [4, 2, 4]
    assert numbers(model, torch.tensor(4), 2) == [4, 4]
    assert numbers(model, ["plane", "car", "aeroplane"], 3) == [0, 1, 0]
    assert numbers(model, list(CIFAR10_CLASSES), 10) == list(range(10))
    assert numbers(model, model.null_label, 1) == [10]
    assert numbers(model, np.int64(3), 2) == [3, 3]
    assert numbers(model, np.array([3, 4]), 2) == [3, 4]
    assert numbers(model, np.array(3), 2) == [3, 3]
    assert numbers(model, np.array(["cat", "dog"]), 2) == [3, 5]
    assert numbers(model, [torch.tensor(3), np.uint8(4), "5"], 3) == [3, 4, 5]
    for dtype in (torch.uint8, torch.int8, torch.int32):
        assert numbers(model, torch.tensor([4, 2], dtype=dtype), 2) == [4, 2]
    assert label_numbers(model, torch.tensor([4], dtype=torch.uint8), 2).dtype == torch.int64


def test_one_image_for_each_label_by_default(model: DiffusionTransformerUNet) -> None:
    twelve = [*CIFAR10_CLASSES, "cat", "dog"]
    assert numbers(model, twelve, None) == [*range(10), 3, 5]
    assert numbers(model, torch.tensor([1, 2]), None) == [1, 2]
    assert numbers(model, ["cat"], None) == [3]
    assert numbers(model, "cat", None) == numbers(model, torch.tensor(3), None) == [3] * 10
    assert numbers(tiny_model(3), None, None) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    images = generate_images(model, labels=twelve, steps=1)
    assert distance(images, generate_images(model, 12, labels=twelve, steps=1)) == 0
    assert len(generate_images(model, labels="cat", steps=1)) == 10
    assert len(generate_images(model, steps=1)) == 10


def test_labels_are_called_what_the_model_calls_them() -> None:
    model = tiny_model(3, class_names=["circle", "square", "star"])
    assert numbers(model, ["star", "circle"], 2) == [2, 0]
    with pytest.raises(ValueError, match="no class 'squre'; did you mean 'square'"):
        numbers(model, "squre", 1)
    with pytest.raises(ValueError, match="no class 'car'"):
        numbers(model, "car", 1)
    with pytest.raises(ValueError, match=r"no class 'star'; .* All: 0, 1, 2"):
        numbers(tiny_model(3), "star", 1)


def test_ten_classes_need_not_be_those_of_cifar10() -> None:
    names = [
        "ankle",
        "bag",
        "boot",
        "coat",
        "dress",
        "pullover",
        "sandal",
        "shirt",
        "sneaker",
        "trouser",
    ]
    model = tiny_model(10, class_names=names)
    assert numbers(model, ["trouser", "ankle"], 2) == [9, 0]
    with pytest.raises(ValueError, match="no class 'horse'"):
        numbers(model, "horse", 1)


def test_names_with_capitals_are_found() -> None:
    model = tiny_model(2, class_names=["T-shirt", "Bag"])
    assert numbers(model, ["Bag", "t-shirt"], 2) == [1, 0]


def test_a_name_as_it_is_written_comes_before_all_else() -> None:
    digits = tiny_model(9, class_names=[str(n) for n in range(1, 10)])
    assert numbers(digits, ["1", "9", 1], 3) == [0, 8, 1]
    assert numbers(tiny_model(2, class_names=["A", "a"]), ["a", "A"], 2) == [1, 0]
    assert numbers(tiny_model(2, class_names=[" cat", "dog"]), [" cat", "cat"], 2) == [0, 0]


def test_wrong_labels_are_refused_with_what_to_do(model: DiffusionTransformerUNet) -> None:
    with pytest.raises(ValueError, match=r"no class 'hrse'; did you mean 'horse'\?.*airplane"):
        generate_images(model, labels="hrse")
    with pytest.raises(ValueError, match="did you mean 'airplane'"):
        generate_images(model, labels="airplan")
    for label in (11, -1):
        with pytest.raises(ValueError, match=rf"labels must be names or in \[0, 10\), got {label}"):
            generate_images(model, labels=[0, label])
    fractions = (3.9, 3.0, torch.tensor(3.0), [0, 3.9], torch.tensor([3.0]), float("inf"))
    truths = (True, [False], torch.tensor([True]), np.array([True]))
    one_hot = (torch.eye(10)[[2, 0]], torch.eye(10).long(), np.eye(10), [[1, 0]])
    for wrong in (*fractions, *truths, *one_hot):
        with pytest.raises(ValueError, match=r"labels must be names or in \[0, 10\), got"):
            generate_images(model, labels=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no class '²'"):
        generate_images(model, labels="²")
    with pytest.raises(ValueError, match="1 to num_samples=2 labels, got 3"):
        generate_images(model, 2, labels=[1, 2, 3])
    with pytest.raises(ValueError, match="1 to num_samples=2 labels, got 0"):
        generate_images(model, 2, labels=[])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_need_autocast(dtype: torch.dtype) -> None:
    halved = tiny_model().to(dtype)
    expected = rf"the weights are {dtype}: use model\.float\(\), or torch\.autocast"
    with pytest.raises(ValueError, match=expected):
        generate_images(halved, 1, steps=1)
    with torch.autocast("cpu", dtype):  # as it says
        assert generate_images(halved, 1, steps=1).dtype == torch.float32
    assert generate_images(halved.float(), 1, steps=1).dtype == torch.float32


def test_options_out_of_range_are_refused(model: DiffusionTransformerUNet) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"num_samples": 0}, "num_samples=0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"guidance_interval": (0.9, 0.1)}, "guidance_interval"),
        ({"guidance_scale": 1e308}, r"guidance_scale must be in \[-1000, 1000\], got 1e\+308"),
        ({"sampler": "huen"}, r"one of \['ddim', 'heun', 'dpmpp_2m'\], got 'huen'"),
        ({"sampler": 2}, "sampler must be a function or one of .*, got 2"),
    ]
    for options, message in bad:
        with pytest.raises(ValueError, match=message):
            generate_images(model, **options)


def test_a_model_that_diverged_makes_no_pictures() -> None:
    broken = tiny_model(2)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="images are not finite"):
        generate_images(broken, 2, steps=2)


def test_the_labels_reach_the_model_in_turn(model: DiffusionTransformerUNet) -> None:
    with calls(model) as seen:
        generate_images(model, 3, labels=["cat", "dog"], steps=2, guidance_scale=1)
    assert [s[2] for s in seen] == [[3, 5, 3]] * 2
    assert [s[1] for s in seen] == [1.0, 0.5]
    with calls(model) as seen:
        generate_images(model, 5, steps=1, guidance_scale=2, guidance_interval=(0, 1), batch_size=2)
    assert [s[2] for s in seen] == [[0, 1, 10, 10], [2, 3, 10, 10], [4, 10]]


def test_what_is_asked_for_is_what_comes(model: DiffusionTransformerUNet) -> None:
    def asked(labels: Any) -> Tensor:
        return generate_images(model, 4, labels=labels, steps=3)

    mixed = asked([3, 5])
    assert distance(mixed[0], asked(3)[0]) < 1e-5 and distance(mixed[1], asked(5)[1]) < 1e-5
    assert distance(asked(3), asked(5)) > 0.01, "the label makes no difference"


@pytest.mark.parametrize("sampler", [ddim, heun, dpmpp_2m])
def test_picture_i_is_the_same_however_many_and_however_batched(
    model: DiffusionTransformerUNet, sampler: Any
) -> None:
    options: dict[str, Any] = {"steps": 5, "seed": 5, "sampler": sampler}
    eight = generate_images(model, 8, **options, batch_size=100)
    assert distance(generate_images(model, 8, **options, batch_size=1), eight) < 1e-5
    assert distance(generate_images(model, 8, **options, batch_size=3), eight) < 1e-5
    assert distance(generate_images(model, 5, **options), eight[:5]) < 1e-5
    assert distance(generate_images(model, 8, **options), eight) == 0, "not repeatable"


def test_seeds_and_pictures_differ_from_each_other(model: DiffusionTransformerUNet) -> None:
    starts = [
        denoising_trajectory(model, 20, steps=1, seed=seed, labels=0).xt[0]
        for seed in (0, 1, 2, 12345, 2**31, -1)
    ]
    noise = torch.cat(starts).flatten(1).double()  # (120, 192)
    assert abs(float(noise.mean())) < 0.03 and abs(float(noise.std()) - 1) < 0.03
    alike = torch.corrcoef(noise) - torch.eye(len(noise), dtype=noise.dtype)
    assert alike.abs().max() < 0.4, "two pictures start from related noise"
    images = [generate_images(model, 4, seed=seed, steps=2, labels=0) for seed in (0, 1)]
    assert distance(*images) > 0.05
    assert distance(images[0][:-1], images[0][1:]) > 0.05


def test_the_noise_comes_from_the_seed_alone(model: DiffusionTransformerUNet) -> None:
    torch.manual_seed(0)
    first, expected = generate_images(model, 2, steps=2), torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), expected), "the global generator was used"
    assert distance(generate_images(model, 2, steps=2), first) == 0


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.8)])
@pytest.mark.parametrize("guidance_scale", [1.0, 0.0, 2.5])
def test_with_ddim_it_is_euler_on_the_guided_velocity(
    model: DiffusionTransformerUNet, guidance_scale: float, interval: tuple[float, float]
) -> None:
    """From the model's own v, without x0_hat, paths or samplers."""
    options: dict[str, Any] = {"labels": [3, 5], "steps": 4, "seed": 1, "sampler": ddim}
    options |= {"guidance_scale": guidance_scale, "guidance_interval": interval}
    way = denoising_trajectory(model, 2, **options)
    x = way.xt[0]
    labels, null = torch.tensor([3, 5]), torch.tensor([10, 10])
    with torch.no_grad():
        for i, t in enumerate([1.0, 0.75, 0.5, 0.25]):
            assert distance(way.xt[i], x) < 1e-4
            time = torch.full((2,), t)
            with_label, without = model(x, time, labels), model(x, time, null)
            scale = guidance_scale if interval[0] <= t <= interval[1] else 1
            v = without + scale * (with_label - without)
            assert distance(way.x0_hat[i], x - t * v) < 1e-4
            x = x - 0.25 * v
    assert distance(way.images, ((x + 1) / 2).clamp(0, 1)) < 1e-4
    assert distance(generate_images(model, 2, **options), way.images) == 0


def test_a_model_of_the_cosine_path_is_sampled_on_it() -> None:
    """There v 2 / pi stands at right angles to xt, and ddim turns one towards the other."""
    model = tiny_model(path=COSINE)
    way = denoising_trajectory(model, 2, labels=3, steps=4, guidance_scale=1, sampler=ddim)
    x, angle = way.xt[0], math.pi / 2 / 4
    with torch.no_grad():
        for i, t in enumerate([1.0, 0.75, 0.5, 0.25]):
            assert distance(way.xt[i], x) < 1e-4
            v = 2 / math.pi * model(x, torch.full((2,), t), torch.tensor([3, 3]))
            x = math.cos(angle) * x - math.sin(angle) * v
    assert distance(way.images, ((x + 1) / 2).clamp(0, 1)) < 1e-4


def test_any_network_with_the_attributes_of_the_model_generates(
    model: DiffusionTransformerUNet,
) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            self.image_size, self.channels, self.class_names = 8, 3, None
            self.num_classes = self.null_label = 10

        def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return self.inner(xt, t, labels)

    ours, theirs = (generate_images(m, 2, steps=5) for m in (model, Wrapped()))
    assert distance(ours, theirs) == 0, "without a path of its own it is the straight one"


def test_sampler_and_steps_are_passed_on(model: DiffusionTransformerUNet) -> None:
    # With 5 steps, since with 3 all of dpmpp_2m's are of first order, like those of ddim.
    plain = generate_images(model, 2, steps=5)
    for other in ({"sampler": ddim}, {"steps": 4}, {"guidance_scale": 4.0}):
        assert distance(generate_images(model, 2, **{"steps": 5, **other}), plain) > 1e-3, other
    with calls(model) as seen:
        generate_images(model, 2, steps=3, sampler=heun, guidance_scale=1)
    assert len(seen) == 5


def test_the_model_says_how_it_is_sampled_unless_the_caller_does() -> None:
    model = tiny_model()
    own = {"steps": 5, "tail": 0, "guidance_scale": 2.0, "guidance_interval": (0.3, 0.9)}
    usual, asked = generate_images(model, 2), generate_images(model, 2, **own)
    model.sampling = SamplingSettings(**own)
    assert torch.equal(generate_images(model, 2), asked) and distance(asked, usual) > 1e-3
    with calls(model) as seen:
        generate_images(model, 2, steps=4, guidance_interval=(0.6, 0.8), sampler=ddim)
    assert [(s[0], s[1]) for s in seen] == [(2, 1.0), (4, 0.75), (2, 0.5), (2, 0.25)]


def test_samplers_have_names(model: DiffusionTransformerUNet) -> None:
    for name, function in {"ddim": ddim, "heun": heun, "dpmpp_2m": dpmpp_2m}.items():
        by_name, by_function = (
            generate_images(model, 2, steps=5, sampler=s) for s in (name, function)
        )
        assert distance(by_name, by_function) == 0, name


def test_guidance_interval_saves_calls(model: DiffusionTransformerUNet) -> None:
    with calls(model) as seen:
        generate_images(model, 2, steps=4, guidance_interval=(0.3, 0.8), sampler=ddim)
    assert [(s[0], s[1]) for s in seen] == [(2, 1.0), (4, 0.75), (4, 0.5), (2, 0.25)]


@pytest.mark.parametrize("batch_size", [2, 100])
def test_what_comes_back_is_a_plain_float_tensor_in_unit_range(
    model: DiffusionTransformerUNet, batch_size: int
) -> None:
    images = generate_images(model, 5, steps=2, guidance_scale=30.0, batch_size=batch_size)
    assert images.shape == (5, 3, 8, 8)
    assert images.dtype == torch.float32 and images.device.type == "cpu"
    assert images.min() == 0 and images.max() == 1, "guided far beyond the range, and clamped"
    assert not images.requires_grad and not images.is_inference()
    weight = torch.ones((), requires_grad=True)
    (images * weight).sum().backward()  # refused for tensors of inference mode
    assert len(images) == len(list(images)) == 5
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()


def test_trajectory_is_the_way_to_the_images(model: DiffusionTransformerUNet) -> None:
    options: dict[str, Any] = {"labels": "horse", "steps": 5, "seed": 3}
    way = denoising_trajectory(model, 2, **options)
    assert distance(way.images, generate_images(model, 2, **options)) < 1e-6
    assert way.xt.shape == (6, 2, 3, 8, 8) and way.x0_hat.shape == (5, 2, 3, 8, 8)
    expected = torch.tensor([1, 0.75, 0.5, 0.25, 0.25 / 3, 0], dtype=torch.float64)
    assert distance(way.times, expected) < 1e-12
    assert distance((way.xt[-1] + 1) / 2, way.images) < 1e-6, "the last xt is the image"
    assert distance(((way.x0_hat[-1] + 1) / 2).clamp(0, 1), way.images) < 1e-5
    # On the straight path, xt is x0_hat and the noise it implies: the first step, by hand.
    assert distance(way.xt[1], 0.25 * way.x0_hat[0] + 0.75 * way.xt[0]) < 1e-5
    (way.xt[0] * torch.ones((), requires_grad=True)).sum().backward()


def test_callback_sees_every_step_of_every_batch(model: DiffusionTransformerUNet) -> None:
    seen: list[SamplerStep] = []
    generate_images(model, 5, steps=3, batch_size=2, callback=seen.append)
    assert [(s.index, s.num_steps, len(s.xt)) for s in seen] == [
        (i, 3, n) for n in (2, 2, 1) for i in range(3)
    ]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_restored(training: bool) -> None:
    model = tiny_model().train(training)
    modes: list[bool] = []

    def stop(_: SamplerStep) -> None:
        raise KeyboardInterrupt

    generate_images(model, 1, steps=1, callback=lambda _: modes.append(model.training))
    assert modes == [False] and model.training is training
    with pytest.raises(KeyboardInterrupt):
        generate_images(model, 1, steps=1, callback=stop)
    assert model.training is training and torch.is_grad_enabled()


# Precision, seeds, gradients, wrappers


def test_the_noise_of_a_seed_is_always_the_same(model: DiffusionTransformerUNet) -> None:
    first = starting_noise(model, [0, 7], 0)[:, 0, 0, :3]
    saved = torch.tensor([[-0.4427, 1.0343, 1.1526], [0.6243, -0.4246, -1.2442]])
    assert distance(first, saved) < 1e-4
    for seed in (3, True):
        expected = starting_noise(model, [4], int(seed))
        for same in (seed, np.int64(seed), np.array(int(seed)), torch.tensor(int(seed))):
            assert distance(starting_noise(model, [4], same), expected) == 0
    for wrong in (1.0, None, "0", torch.tensor(1.5)):
        with pytest.raises(TypeError, match=r"integer"):
            generate_images(model, 1, steps=1, seed=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_precision_is_that_of_the_model(default: torch.dtype) -> None:
    single, double = tiny_model(), tiny_model().double()
    expected, noise = generate_images(single, 2, steps=5), starting_noise(single, [0, 1], 3)
    torch.set_default_dtype(default)
    try:
        for model in (single, double):
            images, drawn = generate_images(model, 2, steps=5), starting_noise(model, [0, 1], 3)
            assert distance(images, expected) < 1e-4 and images.dtype == torch.float32
            assert distance(drawn, noise) == 0 and drawn.dtype == next(model.parameters()).dtype
        way = denoising_trajectory(double, 1, steps=2)
        assert way.x0_hat.dtype == way.xt.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    halved = starting_noise(tiny_model().bfloat16(), [0, 1], 3)
    assert distance(halved, noise) == 0, "under autocast the images stay in float32"


def test_a_sampler_may_use_gradients(model: DiffusionTransformerUNet) -> None:
    """One step along the gradient of the mean of x0_hat, against a central difference."""
    slopes: list[float] = []

    def brighter(denoise: Any, x: Tensor, times: Tensor, **_: Any) -> Tensor:
        t = times[1]
        assert not torch.is_grad_enabled() and not x.is_inference()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(denoise(x, t).mean(), x)
        h = 1e-4
        direction = gradient / gradient.norm()
        up, down = (denoise(x + s * h * direction, t).mean() for s in (1, -1))
        slopes.extend([float(gradient.norm()), float((up - down) / (2 * h))])
        return denoise(x + gradient, t).detach()

    options: dict[str, Any] = {"sampler": brighter, "guidance_interval": (0.0, 1.0)}
    images = generate_images(tiny_model().double(), 2, steps=4, **options)
    assert abs(slopes[0] - slopes[1]) < 1e-6 * slopes[0] and slopes[0] > 1e-3
    assert not images.requires_grad


def test_wrapped_models_generate(model: DiffusionTransformerUNet, tmp_path: Path) -> None:
    options: dict[str, Any] = {"labels": ["cat", 5], "steps": 2, "guidance_scale": 1.0}
    expected = generate_images(model, 2, **options)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped: list[Any] = [
            nn.DataParallel(model),
            nn.parallel.DistributedDataParallel(model),
            torch.compile(nn.DataParallel(model), backend="eager"),
        ]
        for wrapper in wrapped:
            images = generate_images(wrapper, 2, **options)
            assert distance(images, expected) < 1e-6, type(wrapper)
    finally:
        dist.destroy_process_group()


def test_progress_counts_images(
    model: DiffusionTransformerUNet, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_images(model, 5, steps=1, batch_size=2)
    assert capsys.readouterr().err == ""
    generate_images(model, 5, steps=1, batch_size=2, progress=True)
    assert "5/5" in capsys.readouterr().err
