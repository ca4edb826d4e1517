"""Trainings for `torchrun`; test_processes.py starts them. Prints the steps, and saves the weights.

torchrun --nproc-per-node 2 tests/distributed.py FOLDER sgd,recommended {run,die,hang}
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn, optim

from aetherfusion import (
    DiffusionTransformerUNet,
    load_shapes10,
    make_loader,
    recommended_optimizer,
    train,
)
from aetherfusion.utils.hardware import join_processes, rank
from aetherfusion.utils.history import Step


def training(folder: Path, optimizer_name: str, end: str) -> None:
    torch.manual_seed(rank())  # the weights of process 0 count
    model = DiffusionTransformerUNet(8, embedding_dim=16, num_heads=2, depth=1)
    if optimizer_name == "sgd":
        model = model.double()
        optimizer: optim.Optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    else:
        optimizer = recommended_optimizer(model)
    data = load_shapes10(44, image_size=8)
    data.flip = True
    seen = 0

    class Counted(DiffusionTransformerUNet):
        def forward(self, *args):  # type: ignore[no-untyped-def]
            nonlocal seen
            seen += 1
            if rank() == 1 and end == "die" and seen == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            if rank() == 1 and end == "hang" and seen == 9:
                time.sleep(600)
            return super().forward(*args)

    model.__class__ = Counted

    def report(step: Step) -> None:
        print(f"process {rank()}: step {step.step} of {step.total_steps}", flush=True)

    train(
        model, make_loader(data, 8, drop_last=False), nn.MSELoss(), optimizer, 3,
        accumulate=2, precision="no", progress=False, callbacks=[report],
        checkpoint_dir=folder, checkpoint_every=2,
    )  # fmt: skip
    if rank() == 0:
        torch.save(model.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, names, how = sys.argv[1:]
    join_processes(timeout_minutes=0.1 if how == "hang" else 10)
    for name in names.split(","):
        training(Path(place, name), name, how)
