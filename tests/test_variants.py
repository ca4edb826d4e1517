"""What the ablations switch: the ladder ends at the recipe, and every switch changes something."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import aetherfusion.training
import aetherfusion.unet
from aetherfusion import COSINE

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import variants
from variants import BRANCHES, PLAIN, Setup, ladder

SETUPS = {**ladder(), **BRANCHES}
SMALL = {"embedding_dim": 32, "depth": 2}


def test_the_way_leads_from_the_plain_form_to_the_recipe() -> None:
    rungs = list(ladder().values())
    assert rungs[0] == PLAIN and rungs[-1] == Setup()
    for before, after in itertools.pairwise(rungs):
        changed = {k for k in vars(before) if getattr(before, k) != getattr(after, k)}
        assert changed
        assert len(changed) == 1 or changed == {"optimizer", "options", "warmup_steps"}
    for name, branch in BRANCHES.items():
        base = rungs[-1] if name.startswith("the recipe with") else rungs[-2]
        changed = {k for k in vars(branch) if getattr(branch, k) != getattr(base, k)}
        assert len(changed) == 1 + (", " in name), name  # a comma between two changes


@pytest.fixture(autouse=True)
def restored_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building a setup changes the package in the process; the next test finds it unchanged."""
    for module, name in [
        (aetherfusion.unet, "position_grid"),
        (aetherfusion.training, "sample_times"),
        (aetherfusion.training, "averaged_copy"),
        (aetherfusion.training, "learning_rate_factor"),
    ]:
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.parametrize("name", SETUPS)
def test_every_setup_learns(name: str) -> None:
    setup = SETUPS[name]
    setup = replace(setup, sizes={**SMALL, **setup.sizes})
    torch.manual_seed(0)
    model = setup.build()
    optimizer = setup.optimizer(model)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    for _ in range(2):  # what starts at zero moves only what comes after it
        xt, t, labels = torch.randn(4, 3, 32, 32), setup.times(4), torch.arange(4)
        prediction = model(xt, t, labels)
        assert prediction.shape == xt.shape
        (prediction - xt).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert after.isfinite().all() and not torch.equal(before, after)


def test_switches_do_what_they_say() -> None:
    torch.manual_seed(0)
    model = replace(Setup(), sizes=SMALL, positions="none").build()
    for p in model.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    # Without positions the blocks see a set: cells that move together change nothing else.
    seen: list[torch.Tensor] = []
    model.unet.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.unet.down.register_forward_hook(lambda _, args, out: seen.append(out))
    model(torch.randn(1, 3, 32, 32), torch.rand(1), torch.tensor([3]))
    assert torch.equal(seen[1], seen[0].flatten(2).transpose(1, 2))
    assert variants.uniform_times(1000).std() > 0.25
    plain = PLAIN.build()
    assert plain.path is COSINE
    factor = aetherfusion.training.learning_rate_factor
    assert factor(0, 1000, decay=0.0) == factor(999, 1000, decay=0.0) == 1.0
    weight = torch.nn.Linear(1, 1).requires_grad_(False)
    average = aetherfusion.training.averaged_copy(weight)
    for value in (0.0, 1.0):
        weight.weight.fill_(value)
        average.update_parameters(weight)
    assert average.module.weight.item() == pytest.approx(0.001)
    Setup().build()
    assert aetherfusion.training.learning_rate_factor(0, 1000) == 1 / 50
    assert any("blocks" in name and "encode" in name for name, _ in plain.named_parameters())
