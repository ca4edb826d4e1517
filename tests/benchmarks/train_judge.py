"""Trains the judge, the classifier that the package ships, aetherfusion/weights/judge.safetensors.

    AETHERFUSION_DATA=... python tests/benchmarks/train_judge.py --epochs 9 --threads 1

Prints its accuracy on the test set after every epoch, and writes the weights then, over the old.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from aetherfusion.data import load_cifar10
from aetherfusion.utils.judge import JUDGE_FILE, Judge


def principal_patches(images: Tensor) -> Tensor:
    """(N, 3, H, W) to filters (24, 3, 2, 2) that make the 2x2 patches white."""
    patches = F.unfold((images - 0.47) / 0.25, 2).transpose(1, 2).flatten(0, 1)  # (M, 12)
    variances, directions = torch.linalg.eigh(patches.T.cov())
    filters = (directions / (variances + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
    return torch.cat([filters, -filters])


def augmented(images: Tensor) -> Tensor:
    """uint8 (B, 3, 36, 36) to floats (B, 3, 32, 32) in [0, 1]: cut at random, half mirrored."""
    corners = torch.randint(5, (len(images), 2, 1))  # (B, 2, 1)
    rows, columns = (corners + torch.arange(32)).unbind(1)  # (B, 32) each
    columns = torch.where(torch.rand(len(images), 1) < 0.5, columns, columns.flip(1))
    index = torch.arange(len(images))[:, None, None]
    cut = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def accuracy(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """The share of uint8 images that the judge names as their labels do."""
    judge.eval()
    hits = [
        (judge(batch.float() / 255).argmax(1) == truth).sum()
        for batch, truth in zip(images.split(500), labels.split(500), strict=True)
    ]
    return float(torch.stack(hits).sum() / len(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    training, test = load_cifar10(), load_cifar10(train=False)
    images = F.pad(training.images.float(), (2, 2, 2, 2), mode="reflect").byte()

    judge = Judge()
    judge.patches.weight.data = principal_patches(training.images[:5000].float() / 255)
    judge.patches.weight.requires_grad_(False)
    weights = [p for p in judge.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        weights, lr=args.lr, momentum=0.85, nesterov=True, weight_decay=5e-4
    )
    steps = args.epochs * len(images) // args.batch_size
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.2 * steps), (steps - step) / (0.8 * steps))
    )
    started, step = time.process_time(), 0
    for epoch in range(1, args.epochs + 1):
        judge.train()
        for batch in torch.randperm(len(images)).split(args.batch_size):
            with torch.autocast("cpu", torch.bfloat16):
                logits = judge(augmented(images[batch]))
            loss = F.cross_entropy(logits.float(), training.labels[batch], label_smoothing=0.2)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            step += 1
            if step == args.max_steps:
                print(f"{step * args.batch_size / (time.process_time() - started):.0f} images/s")
                return
        print(
            f"epoch {epoch}: loss {loss:.3f}, accuracy on the test set "
            f"{accuracy(judge, test.images, test.labels):.4f}, "
            f"{time.process_time() - started:.0f} CPU-seconds",
            flush=True,
        )
        halves = {
            name: (value.half() if value.is_floating_point() else value).contiguous()
            for name, value in judge.state_dict().items()
        }
        save_file(halves, JUDGE_FILE)


if __name__ == "__main__":
    main()
