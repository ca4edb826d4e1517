"""Ranges, batches, flips, loaders, and where CIFAR-10 is looked for."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, random_split
from torchvision import transforms
from torchvision.datasets import CIFAR10, ImageFolder

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


def some_images(number: int = 50, flip: bool = False, channels: int = 3) -> ImageTensors:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, channels, 6, 5), dtype=torch.uint8, generator=generator)
    return ImageTensors(images, torch.arange(number) % 3, ("a", "b", "c"), flip=flip)


# Ranges


def test_round_trip_is_exact_for_every_byte() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    images = from_unit(every.float() / 255)
    assert images.min() == -1 and images.max() == 1
    assert torch.equal(to_uint8(to_unit(images)), every)


def test_ranges_are_the_closed_forms() -> None:
    assert from_unit(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist() == [-1.0, -0.5, 0.0, 1.0]
    overshooting = torch.tensor([-1.5, -1.0, -0.5, 0.0, 1.0, 1.25], dtype=torch.bfloat16)
    assert to_unit(overshooting).tolist() == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
    assert to_unit(overshooting).dtype == torch.float32
    # The nearest byte, not the one below: 0.4999 and 0.5001 of a step.
    assert to_uint8(torch.tensor([0.4999, 0.5001, 254.6]) / 255).tolist() == [0, 1, 255]
    with pytest.raises(ValueError, match=r"floats in \[0, 1\], got torch.uint8; use images / 255"):
        from_unit(torch.zeros(3, dtype=torch.uint8))


# ImageTensors


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_equals_its_images_one_by_one(flip: bool, channels: int) -> None:
    dataset = some_images(flip=flip, channels=channels)
    indices = [3, 3, 0, 49, -1, *range(40)]
    torch.manual_seed(5)
    images, labels = dataset.batch(indices)
    torch.manual_seed(5)
    single = [dataset[i] for i in indices]
    assert images.shape == (45, channels, 6, 5) and images.dtype == torch.float32
    assert torch.equal(images, torch.stack([image for image, _ in single]))
    assert labels.tolist() == [label for _, label in single] and labels.dtype == torch.int64
    if not flip:
        assert torch.equal(to_uint8(to_unit(images)), dataset.images[indices])


def test_flips_are_flips_of_half_of_the_images() -> None:
    dataset = some_images(4000, flip=True)
    before = dataset.images.clone()
    torch.manual_seed(0)
    images, _ = dataset.batch(range(4000))
    stored = from_unit(dataset.images.float() / 255)
    as_stored = (images == stored).flatten(1).all(1)
    mirrored = (images == stored.flip(-1)).flatten(1).all(1)
    assert (as_stored ^ mirrored).all(), "an image is neither itself nor its mirror image"
    assert abs(mirrored.float().mean().item() - 0.5) < 0.03  # almost 4 standard deviations
    images.zero_()
    assert torch.equal(dataset.images, before), "the stored images have changed"


def test_index_out_of_range() -> None:
    dataset = some_images(5)
    for wrong in ([5], [0, -6], torch.tensor([2, 7])):
        with pytest.raises(IndexError, match="the data set has 5 images"):
            dataset.batch(wrong)
    assert len([label for _, label in dataset]) == 5  # type: ignore[attr-defined]  # a loop ends


def test_to_gives_a_copy_on_the_device() -> None:
    dataset = some_images(flip=True)
    moved = dataset.to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert dataset.images.device.type == "cpu"
    assert moved.flip and moved.class_names == dataset.class_names and len(moved) == 50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_batches() -> None:
    dataset = some_images(flip=True)
    on_cuda = dataset.to("cuda")
    torch.manual_seed(0)
    expected = list(make_loader(dataset, 16))
    torch.manual_seed(0)
    for (images, labels), (a, b) in zip(make_loader(on_cuda, 16), expected, strict=True):
        assert images.is_cuda and labels.is_cuda
        assert torch.equal(images.cpu(), a) and torch.equal(labels.cpu(), b)


IMAGES = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
LABELS = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, r"images must be uint8 .* got torch.float32"),
        (IMAGES[0], LABELS, r"uint8 \(3, 8, 8\)"),
        (IMAGES.permute(0, 2, 3, 1), LABELS, r"uint8 \(4, 8, 8, 3\)"),
        (IMAGES, LABELS[:3], r"labels of shape \(3,\) for 4 images"),
        (IMAGES, LABELS[:, None], r"labels of shape \(4, 1\) for 4 images"),
        (IMAGES, LABELS + 2, r"labels must be in \[0, 2\), got 2"),
        (IMAGES, LABELS - 1, r"got -1"),
    ],
)
def test_wrong_tensors_are_refused(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ImageTensors(images, labels, ("a", "b"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_integer_type_are_taken(dtype: torch.dtype) -> None:
    dataset = ImageTensors(IMAGES, torch.tensor([0, 1, 1, 0], dtype=dtype), ("a", "b"))
    _, labels = next(iter(make_loader(dataset, 4, shuffle=False)))
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 1, 1, 0]


# Loaders


def test_loader_is_an_ordinary_dataloader() -> None:
    dataset = some_images(50)
    loader = make_loader(dataset, 16, shuffle=False)
    assert type(loader) is DataLoader and loader.dataset is dataset and loader.batch_size == 16
    assert len(loader) == 3 and len(make_loader(dataset, 16, drop_last=False)) == 4
    images, labels = next(iter(loader))
    assert torch.equal(images, dataset.batch(range(16))[0]) and images.is_contiguous()
    assert torch.equal(labels, dataset.labels[:16])
    pickle.dumps(loader)


def test_one_epoch_shows_every_image_once_and_replays_with_the_seed() -> None:
    dataset = some_images(50, flip=True)
    loader = make_loader(dataset, 16, drop_last=False)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([images for images, _ in loader])

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))
    dataset.flip = False
    seen = to_uint8(to_unit(run(1)))
    assert sorted(seen.flatten(1).tolist()) == sorted(dataset.images.flatten(1).tolist())
    assert not torch.equal(seen, dataset.images), "the images were not shuffled"


def test_a_batch_is_read_at_once() -> None:
    class Counted(ImageTensors):
        reads = 0

        def batch(self, indices: object) -> tuple[torch.Tensor, torch.Tensor]:
            self.reads += 1
            return super().batch(indices)  # type: ignore[arg-type]

    stored = some_images(48)
    dataset = Counted(stored.images, stored.labels, stored.class_names)
    assert len(list(make_loader(dataset, 16))) == dataset.reads == 3
    assert len(list(make_loader(Subset(dataset, range(32)), 16))) == dataset.reads - 3 == 2


def folder_of_images(folder: Path, dataset: ImageTensors) -> ImageFolder:
    for i, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        place = folder / dataset.class_names[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{i:02d}.png")
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Lambda(from_unit)])
    return ImageFolder(str(folder), to_tensor)


def test_loaders_of_other_data_sets(tmp_path: Path) -> None:
    dataset = some_images(24)
    images, labels = dataset.batch(range(24))
    by_label = dataset.labels.argsort(stable=True).tolist()  # the order of the folders
    ordered: list[tuple[Dataset, list[int]]] = [
        (Subset(dataset, range(4, 20)), [*range(4, 20)]),
        (ConcatDataset([dataset, Subset(dataset, [3, 1])]), [*range(24), 3, 1]),
        (TensorDataset(images, labels), [*range(24)]),
        (folder_of_images(tmp_path, dataset), by_label),
    ]
    for other, indices in ordered:
        batches = list(make_loader(other, 5, shuffle=False, drop_last=False))
        assert torch.equal(torch.cat([batch for batch, _ in batches]), images[indices])
        assert torch.cat([batch for _, batch in batches]).tolist() == labels[indices].tolist()
    for part in random_split(dataset, [16, 8]):
        batch, _ = next(iter(make_loader(part, len(part), shuffle=False)))
        assert torch.equal(batch, images[list(part.indices)])


def test_loaders_with_worker_processes_give_the_same_batches() -> None:
    dataset = some_images(48)
    workers = DataLoader(dataset, 16, num_workers=1)
    for ours, theirs in zip(make_loader(dataset, 16, shuffle=False), workers, strict=True):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_loader_of_too_few_images() -> None:
    with pytest.raises(ValueError, match="50 images are fewer than batch_size=64"):
        make_loader(some_images(50))
    assert len(make_loader(some_images(50), drop_last=False)) == 1


def test_shapes10_trains_like_cifar10() -> None:
    images, labels = next(iter(make_loader(load_shapes10(100), 20, shuffle=False)))
    assert images.shape == (20, 3, 32, 32) and images.abs().max() <= 1
    assert labels.tolist() == [*range(10), *range(10)]


# CIFAR-10


def test_batches_equal_torchvision_pixel_for_pixel(cifar10_root: Path) -> None:
    normalise = transforms.Normalize([0.5] * 3, [0.5] * 3)
    transform = transforms.Compose([transforms.ToTensor(), normalise])
    theirs = CIFAR10(cifar10_root, train=False, transform=transform)
    ours = load_cifar10(cifar10_root, train=False, download=False)
    assert len(ours) == 10_000 and not ours.flip and ours.images.is_contiguous()
    assert list(ours.class_names) == list(CIFAR10_CLASSES) == theirs.classes
    assert torch.bincount(ours.labels).tolist() == [1000] * 10
    some = range(0, 10_000, 7)
    loaders = [make_loader(Subset(part, some), 500, shuffle=False) for part in (ours, theirs)]
    for (a, a_labels), (b, b_labels) in zip(*loaders, strict=True):
        assert torch.equal(a, b) and torch.equal(a_labels, b_labels)


def test_training_images_flip_by_default(cifar10_root: Path) -> None:
    train = load_cifar10(cifar10_root, download=False)
    assert len(train) == 50_000 and train.flip
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    # The mean of the training set that everybody quotes.
    mean = train.images.float().mean((0, 2, 3)) / 255
    assert (mean - torch.tensor([0.4914, 0.4822, 0.4465])).abs().max() < 1e-4


def test_one_folder_for_notebooks_and_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AETHERFUSION_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "notebooks" / "data").mkdir(parents=True)  # empty, so it does not count
    places = []
    for folder in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(folder)
        places.append(data_root())
    assert places[0] == places[1] and places[0].is_absolute() and "aetherfusion" in str(places[0])
    assert not (tmp_path / "cache").exists(), "looking for data has made a folder"

    (tmp_path / "notebooks" / "data" / "cifar-10-batches-py").mkdir()
    assert data_root() == Path("data"), "data from before stays in use"
    monkeypatch.setenv("AETHERFUSION_DATA", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    assert data_root(tmp_path / "given") == tmp_path / "given"


def test_cifar10_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cifar10_root: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AETHERFUSION_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find_cifar10() is None
    (tmp_path / "data").symlink_to(cifar10_root)
    assert find_cifar10() == Path("data")
    monkeypatch.setenv("AETHERFUSION_DATA", str(tmp_path / "elsewhere"))
    assert find_cifar10() is None, "AETHERFUSION_DATA comes before ./data"


def test_missing_cifar10_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no complete CIFAR-10") as caught:
        load_cifar10(tmp_path / "none", download=False)
    for hint in (str(tmp_path / "none"), "download=True", "AETHERFUSION_DATA", "load_shapes10"):
        assert hint in str(caught.value)
    assert not (tmp_path / "none").exists(), "nothing is created by looking"


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("damage", ["missing", "short", "altered", "hostile"])
def test_a_damaged_folder_is_noticed_and_repaired(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cifar10_root: Path, damage: str
) -> None:
    folder, exploded = tmp_path / "cifar-10-batches-py", tmp_path / "exploded"
    folder.mkdir()
    for file in (cifar10_root / folder.name).iterdir():
        if file.name != "data_batch_3":
            os.symlink(file, folder / file.name)
    content = (cifar10_root / folder.name / "data_batch_3").read_bytes()
    files = {
        "short": content[:1_000_000],
        "altered": content[:-1] + b"x",
        "hostile": pickle.dumps(Bomb(exploded)),
    }
    if damage in files:
        (folder / "data_batch_3").write_bytes(files[damage])
    assert find_cifar10(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="no complete CIFAR-10"):
        load_cifar10(tmp_path, download=False)
    assert not exploded.exists(), "a file with a wrong md5 was unpickled"
    if damage != "short":
        return

    def repair(root: Path) -> None:
        assert root == tmp_path
        (folder / "data_batch_3").unlink(missing_ok=True)
        shutil.copy(cifar10_root / folder.name / "data_batch_3", folder)

    monkeypatch.setattr(data, "download_cifar10", repair)
    assert len(load_cifar10(tmp_path)) == 50_000
