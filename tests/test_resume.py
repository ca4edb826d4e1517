"""Runs that are killed, stopped, damaged and resumed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny import Affine, batches, run, weights_of
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

import aetherfusion.training as training
from aetherfusion import (
    DiffusionTransformerUNet,
    load_shapes10,
    make_loader,
    recommended_optimizer,
    training_steps,
)
from aetherfusion.utils.hardware import make_accelerator
from aetherfusion.utils.history import Step
from aetherfusion.utils.runs import STATE_FILE, load_state, save_state

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


def weights_after(steps: Any, model: nn.Module, stop: int | None) -> Tensor:
    """The weights of a run that is closed after step `stop`, or that ends by itself."""
    for step in steps:
        if step.step == stop:
            break
    steps.close()
    return weights_of(model)


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
        return weights_after(steps, model, stop)

    expected = go(None, None)
    assert not torch.equal(go(tmp_path, 5), expected)
    assert torch.equal(go(tmp_path, 7), go(tmp_path, None)) is False
    assert torch.equal(go(tmp_path, None), expected)


class Noisy(Dataset):
    """Pictures whose transform draws from torch."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return (torch.rand(1, 4, 4) - 0.5 + i / 64).clamp(-1, 1), i % 2


def loader_with_generator(workers: int) -> DataLoader:
    generator = torch.Generator().manual_seed(5)
    return DataLoader(Noisy(), 8, shuffle=True, num_workers=workers, generator=generator)


def loader_with_sampler() -> DataLoader:
    generator = torch.Generator().manual_seed(5)
    sampler = WeightedRandomSampler([1.0, 3.0] * 16, 32, generator=generator)
    return DataLoader(Noisy(), 8, sampler=sampler)


class Batches:
    """A batch sampler with a generator of its own."""

    batch_size, drop_last, sampler = 8, False, range(32)

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(torch.randperm(32, generator=self.generator).view(4, 8).tolist())

    def __len__(self) -> int:
        return 4


def loader_in_order() -> DataLoader:
    generator = torch.Generator().manual_seed(5)  # the worker's seed comes from it
    return DataLoader(Noisy(), 8, num_workers=1, generator=generator)


@pytest.mark.parametrize(
    "make",
    [
        lambda: loader_with_generator(0),
        lambda: loader_with_generator(1),
        loader_in_order,
        loader_with_sampler,
        lambda: DataLoader(Noisy(), batch_sampler=Batches()),
    ],
    ids=["generator", "generator and worker", "in order", "sampler", "batch sampler"],
)
def test_resume_where_the_loader_has_a_generator_of_its_own(tmp_path: Path, make: Any) -> None:
    def go(directory: Path | None, stop: int | None) -> Tensor:
        torch.manual_seed(0)
        model = Affine()
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        steps = training_steps(
            model, make(), nn.MSELoss(), optimizer, 3, checkpoint_dir=directory, precision="no"
        )
        return weights_after(steps, model, stop)

    expected = go(None, None)
    assert not torch.equal(go(tmp_path, 6), expected)
    assert torch.equal(go(tmp_path, None), expected)


def test_numbers_of_numpy_are_resumed_from(tmp_path: Path) -> None:
    rate = np.logspace(-4, -2, 2)[1]

    def go(directory: Path | None, seed: Any, stop: int | None = None) -> Tensor:
        torch.manual_seed(0)
        model = Affine()
        steps = training_steps(
            model, batches(), nn.MSELoss(), optim.Adam(model.parameters(), lr=rate), 2,
            decay=np.float64(0.5), seed=seed, checkpoint_dir=directory, precision="no",
        )  # fmt: skip
        return weights_after(steps, model, stop)

    go(tmp_path, np.int64(0), stop=5)
    go(tmp_path, np.int64(0), stop=6)
    assert torch.equal(go(tmp_path, 0), go(None, 0))


def test_what_could_not_be_read_again_is_told_before_it_begins(tmp_path: Path) -> None:
    class Odd(Affine):
        def get_extra_state(self) -> object:
            return Noisy()

        def set_extra_state(self, state: object) -> None:
            pass

    calls: list[Step] = []
    with pytest.raises(ValueError, match="the model of this run holds something that a checkpoint"):
        run(Odd(), checkpoint_dir=tmp_path, callbacks=[calls.append])
    assert not calls and not list(tmp_path.iterdir())


def test_any_config_may_be_resumed(tmp_path: Path) -> None:
    class Config:
        pass

    def configured() -> Affine:
        model = Affine()
        model.config = {"act": nn.GELU, "of": Config(), "where": tmp_path}  # type: ignore
        return model

    history = run(configured(), checkpoint_dir=tmp_path)
    assert run(configured(), checkpoint_dir=tmp_path).loss == history.loss


def test_versions_of_modules_are_kept(tmp_path: Path) -> None:
    """A module that migrates old states must not take a new one for old."""

    class Migrating(Affine):
        _version = 2

        def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *more: Any) -> None:
            if metadata.get("version") != 2:
                state[prefix + "a"] = 2 * state[prefix + "a"]
            super()._load_from_state_dict(state, prefix, metadata, *more)

    model = Migrating()
    run(model, checkpoint_dir=tmp_path)
    again = Migrating()
    run(again, checkpoint_dir=tmp_path)
    assert torch.equal(weights_of(model), weights_of(again))


def test_a_state_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_state(tmp_path, {"run": {}, "done": 1})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(PermissionError):
        load_state(tmp_path, {})


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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("label_dropout", 0.2),
        ("warmup_steps", 1),
        ("decay", 0.1),
        ("average_exponent", 2.0),
        ("max_grad_norm", 0.5),
    ],
)
def test_what_decides_the_outcome_must_stay(tmp_path: Path, option: str, value: float) -> None:
    run(checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=f"belongs to another run: {option} was"):
        run(checkpoint_dir=tmp_path, **{option: value})


def test_a_run_may_go_on_in_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a GPU with bfloat16 to a T4: the state has no scaler yet."""
    model = Affine()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    steps = training_steps(
        model, batches(), nn.MSELoss(), optimizer, 2, precision="no", checkpoint_dir=tmp_path
    )
    next(steps)
    steps.close()

    def with_scaler(precision: object, *, seed: int = 0) -> Accelerator:
        accelerator = make_accelerator("no", seed=seed)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        return accelerator

    monkeypatch.setattr(training, "make_accelerator", with_scaler)
    assert len(run(checkpoint_dir=tmp_path)) == 8


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
