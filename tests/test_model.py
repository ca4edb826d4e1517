"""The whole network: what steers it, what it costs, and what it says to bad input."""

from __future__ import annotations

import copy
import io
import re

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aetherfusion.diffusion import COSINE, FLOW
from aetherfusion.model import DiffusionTransformerUNet


def distance(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    return float((a.detach().double() - b.detach().double()).abs().max())


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def perturb(module: nn.Module, size: float = 0.1) -> None:
    """Random weights everywhere: what starts at zero hides mistakes."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def small_model(image_size: int = 16, num_classes: int = 3) -> DiffusionTransformerUNet:
    torch.manual_seed(0)
    model = DiffusionTransformerUNet(image_size, num_classes, 16, 2, depth=2)
    perturb(model)
    return model


def test_the_call_of_the_original_script() -> None:
    model = DiffusionTransformerUNet(image_size=32, num_classes=10, embedding_dim=128, num_heads=4)
    default = DiffusionTransformerUNet()
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in default.state_dict().items()
    }
    assert default.null_label == default.num_classes == 10
    assert (default.image_size, default.channels) == (32, 3)


def test_prediction_starts_at_zero() -> None:
    for model in (DiffusionTransformerUNet(), DiffusionTransformerUNet(16, 3, 16, 2)):
        shape = (2, 3, model.image_size, model.image_size)
        v = model(some(*shape), torch.tensor([0.2, 0.9]), torch.tensor([0, 1]))
        assert v.shape == shape and v.abs().max() == 0
        v.sum().backward()
        learns = [p for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
        assert learns, "at zero and stuck there"


def test_gradient_reaches_every_parameter_and_every_label() -> None:
    model = small_model()
    labels = torch.tensor([0, 1, 2, model.null_label])
    v = model(some(4, 3, 16, 16), torch.tensor([0.1, 0.3, 0.6, 0.9]), labels)
    (v * some(4, 3, 16, 16, seed=2)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-5, name
    (table,) = (m for m in model.modules() if isinstance(m, nn.Embedding))
    assert len(table.weight) == 4, "a row for each class and one for any class"
    assert table.weight.grad is not None
    assert table.weight.grad.abs().amax(1).min() > 1e-5


@torch.no_grad()
def test_label_and_time_and_image_each_change_the_output() -> None:
    model = small_model()
    x = some(1, 3, 16, 16)
    v = model(x, torch.tensor([0.5]), torch.tensor([0]))
    for label in (1, 2, model.null_label):
        assert distance(model(x, torch.tensor([0.5]), torch.tensor([label])), v) > 1e-2
    for time in (0.0, 0.51, 1.0):
        assert distance(model(x, torch.tensor([time]), torch.tensor([0])), v) > 1e-2
    assert distance(model(x + 0.1, torch.tensor([0.5]), torch.tensor([0])), v) > 1e-2


@torch.no_grad()
def test_no_labels_means_the_null_label() -> None:
    model, x, t = small_model(), some(2, 3, 16, 16), torch.tensor([0.2, 0.7])
    null = torch.full((2,), model.null_label)
    assert distance(model(x, t), model(x, t, null)) == 0
    assert distance(model(x, t), model(x, t, null - 1)) > 1e-2


@pytest.mark.parametrize("image_size", [16, 64])
@pytest.mark.parametrize("num_classes", [1, 3, 100])
@torch.no_grad()
def test_sizes_and_classes(image_size: int, num_classes: int) -> None:
    model = small_model(image_size, num_classes)
    assert model.null_label == num_classes
    x = some(2, 3, image_size, image_size)
    v = model(x, torch.rand(2), torch.tensor([0, num_classes]))
    assert v.shape == x.shape and v.isfinite().all()
    (table,) = (m for m in model.modules() if isinstance(m, nn.Embedding))
    assert len(table.weight) == num_classes + 1


@torch.no_grad()
def test_grey_pictures() -> None:
    model = DiffusionTransformerUNet(16, 3, 16, 2, channels=1, depth=1)
    assert model(some(2, 1, 16, 16), torch.rand(2)).shape == (2, 1, 16, 16)


@pytest.mark.parametrize("names", [None, ["cat", "dog", "T-shirt"]])
@torch.no_grad()
def test_config_rebuilds_the_model(names: list[str] | None) -> None:
    model = DiffusionTransformerUNet(
        16, 3, 24, 2, channels=1, depth=3, class_names=names, path=COSINE
    )
    perturb(model)
    like = DiffusionTransformerUNet(**model.config)
    like.load_state_dict(model.state_dict(), strict=True)
    x, t, labels = some(2, 1, 16, 16), torch.rand(2), torch.tensor([0, 2])
    assert distance(like(x, t, labels), model(x, t, labels)) == 0
    assert like.config == model.config
    assert like.class_names == model.class_names == (names and tuple(names))
    assert like.path is COSINE


def test_the_model_keeps_its_noise_path() -> None:
    assert DiffusionTransformerUNet(8, 3, 8, 2, depth=1).path is FLOW
    model = DiffusionTransformerUNet(8, 3, 8, 2, depth=1, path=COSINE)
    assert model.path is COSINE and copy.deepcopy(model).path is COSINE
    torch.save(model, file := io.BytesIO())
    file.seek(0)
    assert torch.load(file, weights_only=False).path is COSINE
    with pytest.raises(ValueError, match=r"path must be a NoisePath.* got the name 'cosine'"):
        DiffusionTransformerUNet(path="cosine")  # type: ignore[arg-type]


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other() -> None:
    model = small_model()
    x, t, labels = some(4, 3, 16, 16), torch.linspace(0.1, 0.9, 4), torch.tensor([2, 0, 1, 3])
    together = model(x, t, labels)
    for i in range(4):
        one = slice(i, i + 1)
        assert distance(model(x[one], t[one], labels[one]), together[one]) < 1e-5


@torch.no_grad()
def test_training_and_eval_and_grad_modes_agree() -> None:
    """Nothing random inside, and the two ways to compute attention are one."""
    model, x, t = small_model(), some(2, 3, 16, 16), torch.tensor([0.2, 0.7])
    v = model.eval()(x, t)
    assert distance(model.train()(x, t), v) == 0
    with torch.enable_grad():
        assert distance(model(x, t), v) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_dtype_follows_the_input(dtype: torch.dtype) -> None:
    model, x, t = small_model(), some(2, 3, 16, 16), torch.tensor([0.25, 0.75])
    expected = model(x, t)
    v = model.to(dtype)(x.to(dtype), t.to(dtype))
    assert v.dtype == dtype
    assert distance(v, expected) < (1e-4 if dtype == torch.float64 else 0.1) * expected.abs().max()


def test_it_is_small_and_cheap_to_train() -> None:
    model = DiffusionTransformerUNet()
    assert 2 * sum(p.numel() for p in model.parameters()) < 16e6, "over 16 MB in half precision"
    with FlopCounterMode(display=False) as counter:
        model(some(2, 3, 32, 32), torch.rand(2), torch.tensor([3, 10])).square().sum().backward()
    per_image = counter.get_total_flops() / 2
    assert 0.1e9 < per_image <= 1.2e9, f"{per_image / 1e9:.2f} GFLOP for each training image"


def test_it_says_what_does_not_fit_when_made() -> None:
    cases = [
        ({"image_size": 30}, "image_size must be a multiple of 4.* got 30, "),
        ({"image_size": 0}, "image_size must be a multiple of 4.* got 0, "),
        ({"num_classes": 0}, "num_classes and embedding_dim at least 1; got 32, 0 and 128"),
        ({"embedding_dim": -8}, "num_classes and embedding_dim at least 1; got 32, 10 and -8"),
        ({"class_names": ["cat", "dog"]}, "got 2 class_names for 10 classes"),
        (
            {"embedding_dim": 128, "num_heads": 7},
            "num_heads must divide the width of the tokens.* 192; got 7",
        ),
        ({"embedding_dim": 12}, "embedding_dim must be a multiple of .*got 12"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            DiffusionTransformerUNet(**arguments)  # type: ignore[arg-type]


def test_it_says_what_does_not_fit_when_used() -> None:
    model = small_model()
    x, t, labels = some(2, 3, 16, 16), torch.rand(2), torch.tensor([0, 1])
    for wrong in (some(2, 3, 32, 32), some(2, 1, 16, 16), some(3, 16, 16)):
        message = re.escape("xt (B, 3, 16, 16), ") + ".*" + re.escape(f"got {tuple(wrong.shape)}, ")
        with pytest.raises(ValueError, match=message):
            model(wrong, t, labels)
    for wrong in (labels[:1], labels[:, None], torch.tensor(1)):
        message = re.escape(f"labels (B,); got (2, 3, 16, 16), (2,) and {tuple(wrong.shape)}")
        with pytest.raises(ValueError, match=message):
            model(x, t, wrong)
    for wrong in (t[:1], t[:, None], torch.tensor(0.5)):
        message = re.escape(f"t (B,) and labels (B,); got (2, 3, 16, 16), {tuple(wrong.shape)} and")
        with pytest.raises(ValueError, match=message):
            model(x, wrong, labels)
    with pytest.raises(ValueError, match="expected xt"):  # one for both would broadcast
        model(x, t[:1], labels[:1])


@pytest.mark.parametrize("label", [-1, 4, 12])
def test_it_says_that_a_label_is_out_of_range(label: int) -> None:
    with pytest.raises(ValueError, match=rf"labels must be in \[0, .*got {label}"):
        small_model()(some(2, 3, 16, 16), torch.rand(2), torch.tensor([0, label]))
