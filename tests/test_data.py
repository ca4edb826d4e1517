"""The data room: ranges, batches, flips, loaders, and where CIFAR-10 is looked for."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from aetherfusion import data
from aetherfusion.data import (
    CIFAR10_CLASSES,
    ImageTensors,
    data_root,
    find_cifar10,
    from_unit,
    load_cifar10,
    load_shapes10,
    make_loader,
    to_uint8,
    to_unit,
)


def some_images(number: int = 50, flip: bool = False) -> ImageTensors:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, 3, 6, 5), dtype=torch.uint8, generator=generator)
    return ImageTensors(images, torch.arange(number) % 3, ("a", "b", "c"), flip=flip)


# Ranges


def test_round_trip_is_exact_for_every_byte() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    images = from_unit(every.float() / 255)
    assert images.min() == -1 and images.max() == 1
    assert torch.equal(to_uint8(to_unit(images)), every)


def test_from_unit_is_the_closed_form() -> None:
    assert from_unit(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert to_unit(torch.tensor([-1.0, -0.5, 0.0, 1.0])).tolist() == [0.0, 0.25, 0.5, 1.0]


def test_to_unit_clamps_what_overshoots_and_returns_float32() -> None:
    images = torch.tensor([-1.5, 0.0, 1.25], dtype=torch.bfloat16)
    assert to_unit(images).tolist() == [0.0, 0.5, 1.0]
    assert to_unit(images).dtype == torch.float32


def test_to_uint8_rounds_to_the_nearest() -> None:
    # 0.4999 and 0.5001 of a step: cutting off instead of rounding would give 0 for both.
    assert to_uint8(torch.tensor([0.4999, 0.5001, 254.6]) / 255).tolist() == [0, 1, 255]


def test_from_unit_refuses_bytes() -> None:
    with pytest.raises(ValueError, match=r"expects floats in \[0, 1\], got torch.uint8"):
        from_unit(torch.zeros(3, dtype=torch.uint8))


# ImageTensors


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_equals_its_images_one_by_one(flip: bool) -> None:
    dataset = some_images(flip=flip)
    indices = [3, 3, 0, 49, -1, *range(40)]
    torch.manual_seed(5)
    images, labels = dataset.batch(indices)
    torch.manual_seed(5)
    single = [dataset[i] for i in indices]
    assert images.shape == (45, 3, 6, 5) and images.dtype == torch.float32
    assert torch.equal(images, torch.stack([image for image, _ in single]))
    assert labels.tolist() == [label for _, label in single]
    assert all(type(label) is int for _, label in single)


def test_without_flip_a_batch_is_the_stored_bytes() -> None:
    dataset = some_images()
    images, labels = dataset.batch([7, 2])
    assert torch.equal(to_uint8(to_unit(images)), dataset.images[[7, 2]])
    assert labels.tolist() == [1, 2]


def test_flips_are_flips_of_half_of_the_images() -> None:
    dataset = some_images(4000, flip=True)
    torch.manual_seed(0)
    images, _ = dataset.batch(range(4000))
    stored = from_unit(dataset.images.float() / 255)
    as_stored = (images == stored).flatten(1).all(1)
    mirrored = (images == stored.flip(-1)).flatten(1).all(1)
    assert (as_stored ^ mirrored).all(), "an image is neither itself nor its mirror image"
    assert abs(mirrored.float().mean().item() - 0.5) < 0.03  # almost 4 standard deviations


def test_flips_replay_with_the_seed_and_differ_without() -> None:
    loader = make_loader(some_images(64, flip=True), 16)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([images for images, _ in loader])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_reading_leaves_the_stored_images_alone() -> None:
    dataset = some_images(flip=True)
    before = dataset.images.clone()
    dataset.batch(range(50))[0].zero_()
    assert torch.equal(dataset.images, before)


def test_index_out_of_range() -> None:
    dataset = some_images(5)
    with pytest.raises(IndexError, match="the data set has 5 images"):
        dataset[5]
    with pytest.raises(IndexError):
        dataset.batch([0, -6])
    assert len([label for _, label in dataset]) == 5  # type: ignore[attr-defined]  # a for loop ends


def test_to_gives_a_copy_on_the_device() -> None:
    dataset = some_images(flip=True)
    moved = dataset.to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert dataset.images.device.type == "cpu"
    assert moved.flip and moved.class_names == dataset.class_names and len(moved) == 50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_batches() -> None:
    dataset = some_images(flip=True)
    torch.manual_seed(0)
    images, labels = dataset.batch(range(50))
    torch.manual_seed(0)
    images_cuda, labels_cuda = dataset.to("cuda").batch(range(50))
    assert images_cuda.is_cuda and labels_cuda.is_cuda
    assert torch.equal(images_cuda.cpu(), images) and torch.equal(labels_cuda.cpu(), labels)


IMAGES = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
LABELS = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, r"images must be a uint8 tensor .* got torch.float32"),
        (IMAGES[0], LABELS, r"shape \(3, 8, 8\)"),
        (IMAGES.permute(0, 2, 3, 1), LABELS, r"shape \(4, 8, 8, 3\)"),
        (IMAGES, LABELS[:3], r"int64 tensor of shape \(4,\).* got torch.int64 of shape \(3,\)"),
        (IMAGES, LABELS.int(), r"got torch.int32"),
        (IMAGES, LABELS + 2, r"labels must be in \[0, 2\).* got 2"),
        (IMAGES, LABELS - 1, r"got -1"),
        (IMAGES, LABELS.to("meta"), r"images are on cpu, labels on meta"),
    ],
)
def test_wrong_tensors_are_refused(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ImageTensors(images, labels, ("a", "b"))


# Loaders


def test_loader_is_an_ordinary_dataloader() -> None:
    dataset = some_images(50)
    loader = make_loader(dataset, 16, shuffle=False)
    assert type(loader) is DataLoader and len(loader.dataset) == 50 and loader.num_workers == 0
    assert len(loader) == 3 and len(make_loader(dataset, 16, drop_last=False)) == 4
    images, labels = next(iter(loader))
    assert torch.equal(images, dataset.batch(range(16))[0])
    assert torch.equal(labels, dataset.labels[:16])
    pickle.dumps(loader)


def test_one_epoch_shows_every_image_once() -> None:
    dataset = some_images(50)
    batches = list(make_loader(dataset, 16, drop_last=False))
    seen = to_uint8(to_unit(torch.cat([images for images, _ in batches])))
    assert sorted(seen.flatten(1).tolist()) == sorted(dataset.images.flatten(1).tolist())
    assert not torch.equal(seen, dataset.images), "the images were not shuffled"


def test_a_bare_dataloader_gives_the_same_batches() -> None:
    dataset = some_images(50)
    bare = DataLoader(dataset, 16, shuffle=False, drop_last=True)
    for (a, ya), (b, yb) in zip(bare, make_loader(dataset, 16, shuffle=False), strict=True):
        assert torch.equal(a, b) and torch.equal(ya, yb)
    images, _ = next(iter(DataLoader(Subset(dataset, range(10, 20)), 10)))
    assert torch.equal(images, dataset.batch(range(10, 20))[0])


def test_loader_of_too_few_images() -> None:
    with pytest.raises(ValueError, match="has 50 images, fewer than batch_size=64"):
        make_loader(some_images(50))
    assert len(make_loader(some_images(50), drop_last=False)) == 1
    with pytest.raises(ValueError, match="at least 1, got 0"):
        make_loader(some_images(50), 0)


def test_a_bare_dataloader_works_with_worker_processes() -> None:
    dataset = some_images(48)
    workers = DataLoader(dataset, 16, num_workers=1)
    for (a, _), (b, _) in zip(make_loader(dataset, 16, shuffle=False), workers, strict=True):
        assert torch.equal(a, b)


# CIFAR-10


def test_class_names() -> None:
    assert len(CIFAR10_CLASSES) == 10 and CIFAR10_CLASSES[0] == "airplane"
    assert CIFAR10_CLASSES[3] == "cat" and CIFAR10_CLASSES[9] == "truck"


def test_batches_equal_torchvision_pixel_for_pixel(cifar10_root: Path) -> None:
    from torchvision import transforms
    from torchvision.datasets import CIFAR10

    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    )
    theirs = CIFAR10(cifar10_root, train=False, transform=transform)
    ours = load_cifar10(cifar10_root, train=False, download=False)
    assert len(ours) == 10_000 and not ours.flip and ours.images.is_contiguous()
    assert list(ours.class_names) == theirs.classes
    assert torch.bincount(ours.labels).tolist() == [1000] * 10
    loaders = (
        make_loader(ours, 500, shuffle=False),
        DataLoader(Subset(theirs, range(2000)), 500),
    )
    for (a, a_labels), (b, b_labels) in zip(*loaders, strict=False):
        assert (a - b).abs().max() == 0
        assert torch.equal(a_labels, b_labels)


def test_training_images_flip_by_default(cifar10_root: Path) -> None:
    train = load_cifar10(cifar10_root, download=False)
    assert len(train) == 50_000 and train.flip
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    # The mean of the training set that everybody quotes.
    mean = train.images.float().mean((0, 2, 3)) / 255
    assert (mean - torch.tensor([0.4914, 0.4822, 0.4465])).abs().max() < 1e-4
    assert not load_cifar10(cifar10_root, flip=False, download=False).flip


def test_where_data_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AETHERFUSION_DATA", str(tmp_path / "env"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root() == tmp_path / "env"
    monkeypatch.setenv("AETHERFUSION_DATA", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("AETHERFUSION_DATA")
    assert data_root() == Path("data")


def test_cifar10_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cifar10_root: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AETHERFUSION_DATA", raising=False)
    assert find_cifar10() is None
    (tmp_path / "data").symlink_to(cifar10_root)
    assert find_cifar10() == Path("data")
    monkeypatch.setenv("AETHERFUSION_DATA", str(tmp_path / "elsewhere"))
    assert find_cifar10() is None, "AETHERFUSION_DATA comes before ./data"
    monkeypatch.setenv("AETHERFUSION_DATA", str(cifar10_root))
    assert find_cifar10() == cifar10_root


def test_missing_cifar10_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not there") as caught:
        load_cifar10(tmp_path / "none", download=False)
    for hint in (str(tmp_path / "none"), "download=True", "AETHERFUSION_DATA", "load_shapes10"):
        assert hint in str(caught.value)
    assert not (tmp_path / "none").exists(), "nothing is created by looking"


@pytest.mark.parametrize("damage", ["missing", "short", "altered"])
def test_a_half_unpacked_folder_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cifar10_root: Path, damage: str
) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for file in (cifar10_root / folder.name).iterdir():
        if file.name != "data_batch_3":
            os.symlink(file, folder / file.name)
    content = (cifar10_root / folder.name / "data_batch_3").read_bytes()
    if damage == "short":
        (folder / "data_batch_3").write_bytes(content[:1_000_000])
    if damage == "altered":
        (folder / "data_batch_3").write_bytes(content[:-1] + b"x")
    assert find_cifar10(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="damaged or incomplete"):
        load_cifar10(tmp_path, download=False)

    # With download, it is repaired.
    def repair(root: Path, *, progress: bool) -> None:
        (Path(root) / folder.name / "data_batch_3").unlink(missing_ok=True)
        shutil.copy(cifar10_root / folder.name / "data_batch_3", folder)

    monkeypatch.setattr(data, "download_cifar10", repair)
    assert len(load_cifar10(tmp_path)) == 50_000


def test_download_goes_to_the_chosen_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def refuse(root: Path, *, progress: bool) -> None:
        asked.append((root, progress))
        raise ConnectionError("no network")

    monkeypatch.setattr(data, "download_cifar10", refuse)
    monkeypatch.setenv("AETHERFUSION_DATA", str(tmp_path / "env"))
    for root in (tmp_path / "given", None):
        with pytest.raises(ConnectionError):
            load_cifar10(root, progress=False)
    assert asked == [(tmp_path / "given", False), (tmp_path / "env", False)]


def test_shapes10_trains_like_cifar10() -> None:
    images, labels = next(iter(make_loader(load_shapes10(100), 20, shuffle=False)))
    assert images.shape == (20, 3, 32, 32) and images.abs().max() <= 1
    assert labels.tolist() == [*range(10), *range(10)]
