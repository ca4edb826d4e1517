"""Several processes that train together, started by `torchrun`, on a CPU."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from distributed import training
from tiny import batches
from tiny import run as train_affine
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

HERE = Path(__file__).parent


def torchrun(processes: int, *command: str, more: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *more]
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, *launch, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        },
    )


def run_two(folder: Path, optimizers: str, end: str = "run") -> tuple[int, str]:
    """The exit code and everything that was printed."""
    script = [str(HERE / "distributed.py"), str(folder), optimizers, end]
    with torchrun(2, *script, more=("--standalone",)) as process:
        output, _ = process.communicate(timeout=300)
    return process.returncode, output


def weights(folder: Path) -> Tensor:
    state = torch.load(folder / "weights.pt", weights_only=True)
    return torch.cat([value.flatten() for value in state.values()])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, for both optimizers: what two must come to."""
    folder = tmp_path_factory.mktemp("alone")
    for name in ("sgd", "recommended"):
        training(folder / name, name, "run")
    return folder


def test_two_processes_end_with_the_weights_of_one(alone: Path, tmp_path: Path) -> None:
    """With accumulated batches, dropped labels, flips and a last batch of half the size."""
    code, output = run_two(tmp_path, "sgd,recommended")
    assert code == 0, output
    assert re.findall(r"process (\d)", output) == 2 * 9 * ["0"], "one process speaks"
    for name, largest in [("sgd", 1e-9), ("recommended", 1e-3)]:
        difference = (weights(tmp_path / name) - weights(alone / name)).norm()
        assert difference <= largest * weights(alone / name).norm(), name


@pytest.mark.parametrize("end", ["die", "hang"])
def test_a_lost_process_ends_the_run_which_one_alone_resumes(
    alone: Path, tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    code, output = run_two(tmp_path, "sgd", end)
    assert code != 0 and time.monotonic() - started < 120
    assert "step 4 of 9" in output and "step 5 of 9" not in output
    assert ("Signal 9 (SIGKILL)" if end == "die" else "Timed out") in output
    assert not (tmp_path / "sgd" / "weights.pt").exists()
    training(tmp_path / "sgd", "sgd", "run")
    resumed = capsys.readouterr().out
    assert "step 5 of 9" in resumed and "step 4 of 9" not in resumed
    difference = (weights(tmp_path / "sgd") - weights(alone / "sgd")).norm()
    assert difference <= 1e-9 * weights(alone / "sgd").norm()


def test_the_command_line_on_two_machines(tmp_path: Path) -> None:
    """Two agents of torchrun with a process each, as on two machines; one writes the model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "aetherfusion", "train", "--data", "shapes10", "--num-images", "40"]
    command += ["--batch-size", "20", "--embedding-dim", "8", "--num-heads", "2", "--depth", "1"]
    command += ["--epochs", "1", "--checkpoint-dir", str(tmp_path / "run")]
    agents = [
        torchrun(
            1, *command, "-o", str(tmp_path / f"{node}.safetensors"),
            more=("--nnodes", "2", "--node-rank", str(node), "--master-addr", "127.0.0.1",
                  "--master-port", str(port)),
        )
        for node in range(2)
    ]  # fmt: skip
    outputs = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["0.safetensors"]
    assert "Wrote" in outputs[0] and "Wrote" not in outputs[1]


def test_a_distributed_sampler_is_refused() -> None:
    sampler = DistributedSampler(batches().dataset, num_replicas=2, rank=0)
    with pytest.raises(ValueError, match="must not have a DistributedSampler"):
        train_affine(loader=DataLoader(batches().dataset, 8, sampler=sampler))
