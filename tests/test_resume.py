"""Runs that are killed, stopped, damaged and resumed."""

import contextlib
import copy
import io
import json
import os
import pickle
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
from tiny import Affine, batches, no_file_above, run, weights_of
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from aetherfusion import (
    DiffusionTransformerUNet,
    load_shapes10,
    make_loader,
    recommended_optimizer,
    train,
    training_steps,
)
from aetherfusion.cli.doctor import planned_run
from aetherfusion.utils.history import History, Step
from aetherfusion.utils.runs import (
    PREVIOUS_FILE,
    RUN_FILE,
    STATE_FILE,
    RunState,
    read_state,
    with_checksum,
)

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


def other_batches() -> DataLoader:
    data = batches().dataset.tensors
    return DataLoader(TensorDataset(data[0].flip(-1), data[1]), 8, shuffle=True)


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


def state_in(folder: Path) -> dict[str, Any]:
    return torch.load(folder / STATE_FILE, weights_only=True)


def test_a_state_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkpoint_dir=tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(PermissionError):
            run(checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", too_large)
        with pytest.raises(MemoryError, match=r"not enough memory to read .* which is intact"):
            run(checkpoint_dir=tmp_path)
    assert len(run(checkpoint_dir=tmp_path)) == 8


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first, second = Affine(), Affine()
    history = run(first, checkpoint_dir=tmp_path)
    calls: list[Step] = []
    again = run(second, checkpoint_dir=tmp_path, callbacks=[calls.append])
    assert not calls and again.loss == history.loss
    assert torch.equal(weights_of(first), weights_of(second))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
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
    assert state_in(tmp_path)["done"] == 3
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


def changed(**changes: Any) -> dict[str, Any]:
    """A run in which one thing is another than before."""
    model = changes.get("model") or Affine()
    optimizer = changes.get("optimizer", lambda p: optim.AdamW(p, 0.01, weight_decay=0.1))
    options = {k: v for k, v in changes.items() if k in ("label_dropout", "decay", "accumulate")}
    return {
        "model": model,
        "trainloader": changes.get("trainloader") or batches(),
        "criterion": changes.get("criterion") or nn.MSELoss(),
        "optimizer": optimizer(model.parameters()),
        "num_epochs": 2,
        "precision": "no",
        "progress": False,
        **options,
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("label_dropout", {"label_dropout": 0.2}),
        ("decay", {"decay": 0.1}),
        ("criterion", {"criterion": nn.L1Loss()}),
        ("criterion", {"criterion": nn.HuberLoss(delta=0.5)}),
        ("weight_decay of", {"optimizer": lambda p: optim.AdamW(p, 0.01, weight_decay=0.5)}),
        ("betas of", {"optimizer": lambda p: optim.AdamW(p, 0.01, (0.5, 0.5), weight_decay=0.1)}),
        ("lr of", {"optimizer": lambda p: optim.AdamW(p, 0.02, weight_decay=0.1)}),
        ("optimizer", {"optimizer": lambda p: optim.NAdam(p, 0.01, weight_decay=0.1)}),
        ("model", {"model": Affine(3)}),
        ("data", {"trainloader": other_batches()}),
    ],
)
def test_what_decides_the_outcome_must_stay(tmp_path: Path, name: str, change: dict) -> None:
    train(**changed(), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=f"belongs to another run: {name}.* was"):
        train(**changed(**change), checkpoint_dir=tmp_path)


def test_a_run_may_go_on_in_float16(tmp_path: Path) -> None:
    """From a GPU with bfloat16 to a T4 and back: one of the two states has no scaler."""
    model = Affine()
    for enabled, expected in [(False, 0), (True, 3), (False, 3)]:
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=enabled)
        state = RunState(tmp_path, {"seed": 0}, model=model, scaler=scaler)
        assert state.load() == expected
        state.save(3)
        state.close(3)


def test_a_state_that_is_cut_short_gives_way_to_the_one_before(tmp_path: Path) -> None:
    """Or to none: then it is refused, and nothing is deleted."""
    torch.manual_seed(0)
    whole = Affine()
    begun = copy.deepcopy(whole)
    run(whole)
    with contextlib.suppress(KeyboardInterrupt):
        run(begun, checkpoint_dir=tmp_path, checkpoint_every=2, callbacks=[stop_at(5)])
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="is damaged"):
        run(begun, checkpoint_dir=tmp_path)
    assert torch.equal(weights_of(whole), weights_of(begun))
    for name in (STATE_FILE, PREVIOUS_FILE):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged"):
        run(checkpoint_dir=tmp_path)
    assert (tmp_path / PREVIOUS_FILE).exists()


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    run(checkpoint_dir=tmp_path, checkpoint_every=100)
    path, generator = tmp_path / STATE_FILE, random.Random(0)
    content = path.read_bytes()
    for _ in range(200):
        mutated = bytearray(content)
        mutated[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(mutated)
        with pytest.raises(ValueError, match="is damaged"):
            read_state(tmp_path)
    path.write_bytes(content)
    state = read_state(tmp_path)
    assert state is not None and state["done"] == 8


def test_a_state_of_an_older_version_is_refused_and_kept(tmp_path: Path) -> None:
    torch.save({"run": {}, "done": 1}, tmp_path / STATE_FILE)
    with pytest.raises(ValueError, match="of an older version"):
        run(checkpoint_dir=tmp_path)
    assert (tmp_path / STATE_FILE).exists()


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "{}", '{"owner": 3}'])
def test_a_broken_record_is_written_again(tmp_path: Path, content: str) -> None:
    history = run(checkpoint_dir=tmp_path)
    before = json.loads((tmp_path / RUN_FILE).read_text())["run"]
    (tmp_path / RUN_FILE).write_text(content)
    assert run(checkpoint_dir=tmp_path).loss == history.loss
    assert json.loads((tmp_path / RUN_FILE).read_text())["run"] == before
    assert before["total_steps"] == planned_run(tmp_path)["total_steps"] == 8


def another_process_is_kept_out(folder: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tiny import run\nrun(checkpoint_dir=sys.argv[1])"
    )
    second = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert f"is in use by process {os.getpid()} on" in second.stderr


def test_one_run_in_a_folder_at_a_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Affine()
    started = copy.deepcopy(model)
    steps = training_steps(
        started, batches(), nn.MSELoss(), optim.Adam(started.parameters(), lr=0.01), 2,
        precision="no", checkpoint_dir=tmp_path,
    )  # fmt: skip
    next(steps)
    another_process_is_kept_out(tmp_path)
    # In one process the later run takes over: a notebook's cell is run again after an error.
    run(model, checkpoint_dir=tmp_path)
    after = (tmp_path / STATE_FILE).read_bytes()
    steps.close()
    assert (tmp_path / STATE_FILE).read_bytes() == after


def stop_at(number: int, error: type[BaseException] = KeyboardInterrupt) -> Any:
    def stop(step: Step) -> None:
        if step.step == number:
            raise error("no more")

    return stop


def fails_in_the_loader(number: int) -> Any:
    class Broken(TensorDataset):
        def __getitem__(self, i: int) -> Any:
            if i == number:
                raise OSError(5, "Input/output error")
            return super().__getitem__(i)

    return DataLoader(Broken(*batches().dataset.tensors), 8)


def test_however_a_run_ends_its_completed_steps_are_kept(tmp_path: Path) -> None:
    """An error out of a callback, the loader, the criterion or the model."""

    def criterion(prediction: Tensor, target: Tensor) -> Tensor:
        criterion.calls += 1
        if criterion.calls == 5:
            raise RuntimeError("out of the criterion")
        return nn.functional.mse_loss(prediction, target)

    criterion.calls = 0
    ends: list[tuple[dict[str, Any], int]] = [
        ({"callbacks": [stop_at(3, RuntimeError)]}, 3),
        ({"trainloader": fails_in_the_loader(20)}, 2),
        ({"criterion": criterion}, 4),
    ]
    for i, (changes, done) in enumerate(ends):
        folder = tmp_path / str(i)
        more = {"callbacks": changes.pop("callbacks", ())}
        with pytest.raises((RuntimeError, OSError)):
            train(**changed(**changes), checkpoint_dir=folder, **more)
        assert state_in(folder)["done"] == done


def test_ctrl_c_thrice_in_the_middle_of_a_step(tmp_path: Path) -> None:
    """A step is interrupted before it counts, or it counts entirely."""
    torch.manual_seed(0)
    whole = Affine()
    begun = copy.deepcopy(whole)
    run(whole)

    class Impatient(optim.Adam):
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            if impatient:
                for _ in range(3):
                    signal.raise_signal(signal.SIGINT)

    def options() -> dict[str, Any]:
        made = changed(model=begun, optimizer=lambda p: Impatient(p, lr=0.01))
        return made | {"checkpoint_dir": tmp_path}

    impatient = True
    with pytest.raises(KeyboardInterrupt, match="stopped after step"):
        train(**options())
    assert state_in(tmp_path)["done"] == 1
    impatient = False
    train(**options())
    assert torch.equal(weights_of(whole), weights_of(begun))


def test_an_error_in_the_middle_of_a_step_keeps_the_last_whole_one(tmp_path: Path) -> None:
    class Fails(optim.Adam):
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            if self.state and next(iter(self.state.values()))["step"] == 4:
                raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        train(
            **changed(optimizer=lambda p: Fails(p, lr=0.01)),
            checkpoint_dir=tmp_path, checkpoint_every=2,
        )  # fmt: skip
    assert state_in(tmp_path)["done"] == 2


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    for name in ("file", "file/below", "dangling"):
        calls: list[Step] = []
        with pytest.raises(OSError, match=name.partition("/")[0]):
            run(checkpoint_dir=tmp_path / name, callbacks=[calls.append])
        assert not calls


def test_a_state_is_written_about_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def minute_later(step: Step) -> None:
        seen.append((tmp_path / STATE_FILE).exists())
        monkeypatch.setattr(time, "monotonic", lambda: 61.0 * (step.step + 1) + started)

    started = time.monotonic()
    run(checkpoint_dir=tmp_path, callbacks=[minute_later])
    assert seen == [False] + 7 * [True]


def test_state_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "ran"), "w"))

    buffer = io.BytesIO()
    torch.save({"record": "{}", "evil": Evil()}, buffer)
    (tmp_path / STATE_FILE).write_bytes(with_checksum(buffer.getvalue()))
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        read_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_full_disk_leaves_the_last_state_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands in for it: the second state is larger than the first."""
    history = History(loss=[0.0])
    state = RunState(tmp_path, {}, history=history)
    state.load()
    state.save(1)
    history.loss *= 10_000
    with no_file_above(10_000), pytest.raises(OSError, match=r"File too large.*step 1 is kept"):
        state.save(2)
    state.close(2)
    assert state_in(tmp_path)["done"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [RUN_FILE, "run.lock", STATE_FILE]


def test_a_damaged_state_does_not_push_out_the_one_before(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        run(checkpoint_dir=tmp_path, checkpoint_every=2, callbacks=[stop_at(5)])
    (tmp_path / STATE_FILE).write_bytes(b"damaged")
    before = (tmp_path / PREVIOUS_FILE).read_bytes()
    with pytest.warns(UserWarning, match="is damaged"), contextlib.suppress(KeyboardInterrupt):
        run(checkpoint_dir=tmp_path, checkpoint_every=2, callbacks=[stop_at(5)])
    assert (tmp_path / PREVIOUS_FILE).read_bytes() == before


def test_a_refused_run_frees_the_folder(tmp_path: Path) -> None:
    run(checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="seed was 0 and is now 1") as kept:
        run(checkpoint_dir=tmp_path, seed=1)
    (tmp_path / RUN_FILE).write_text('{"owner": {"host": "another", "process": 1}}')
    assert len(run(checkpoint_dir=tmp_path)) == 8 and kept.value


def test_numbers_of_numpy_inside_a_tuple_are_resumed_from(tmp_path: Path) -> None:
    def go() -> dict[str, Any]:
        betas = (0.9, np.float64(0.99))
        return changed(optimizer=lambda p: optim.Adam(p, 0.01, betas=betas))  # type: ignore

    with contextlib.suppress(KeyboardInterrupt):
        train(**go(), checkpoint_dir=tmp_path, callbacks=[stop_at(3)])
    assert len(train(**go(), checkpoint_dir=tmp_path)) == 8


def test_a_refusal_names_what_differs(tmp_path: Path) -> None:
    train(**changed(), checkpoint_dir=tmp_path)
    other = changed(optimizer=lambda p: optim.AdamW(p, 0.02, weight_decay=0.1))
    with pytest.raises(ValueError, match=r"lr of group 0 was 0\.01 and is now 0\.02"):
        train(**other, checkpoint_dir=tmp_path)


def test_a_run_that_is_begun_again_in_one_process_keeps_others_out(tmp_path: Path) -> None:
    """Also after the first of the two is closed."""
    both = []
    for _ in range(2):
        torch.manual_seed(0)
        options = changed(model=Affine(), optimizer=lambda p: optim.Adam(p, 0.01))
        options.pop("progress")
        both.append(training_steps(**options, checkpoint_dir=tmp_path))
        next(both[-1])
    both[0].close()
    another_process_is_kept_out(tmp_path)
    assert [step.step for step in both[1]] == list(range(2, 9)) and state_in(tmp_path)["done"] == 8
