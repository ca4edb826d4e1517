"""Breaks each component of the package and checks that its own lesson fails.

    python tests/benchmarks/mutate_lessons.py             # all; an hour on two cores
    python tests/benchmarks/mutate_lessons.py 01 02       # these lessons

Each mutant is a copy of the package with one line changed: a wrong sign, a missing scale, a swapped
axis. The lesson is run under nbval against that copy and must fail; with an unchanged copy it must
pass. Prints the list and the result of each.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: By lesson: (file, text, text of the mutant).
MUTANTS: dict[str, list[tuple[str, str, str]]] = {
    "01": [
        ("positional", "-math.log(max_period) * 2 * i / dim", "-math.log(max_period) * i / dim"),
        ("positional", "[angles.sin(), angles.cos()]", "[angles.cos(), angles.sin()]"),
        ("positional", "return x + self.encoding[", "return x - self.encoding["),
        ("positional", "rows[:, None].expand(-1, width, -1)", "rows[None].expand(height, -1, -1)"),
        ("positional", "sinusoid(1000 * t, self.dim)", "sinusoid(t, self.dim)"),
    ],
    "02": [
        ("attention", "(q * q.shape[-1] ** -0.5) @", "q @"),
        ("attention", "scores.softmax(dim=-1)", "scores.softmax(dim=-2)"),
        ("attention", "q, k, v = (", "k, q, v = ("),
        ("attention", "return x * (1 + scale) + shift", "return x * scale + shift"),
        ("attention", "x = x + gate1 * self.attention(", "x = x + self.attention("),
        ("attention", "k = F.layer_norm(k, k.shape[-1:])", "pass"),
    ],
    "03": [
        ("unet", "return self.skip(x) + self.conv2(", "return self.skip(x) - self.conv2("),
        ("unet", "nn.init.zeros_(self.conv2.weight)", "nn.init.ones_(self.conv2.weight)"),
        ("unet", "torch.cat([self.up(h), skip], dim=1)", "torch.cat([skip, self.up(h)], dim=1)"),
        ("unet", "tokens = tokens + places.to(tokens.dtype)", "pass"),
        (
            "unet",
            "x = x.flatten(2).transpose(1, 2)  # (B, H * W, C)",
            "x = x.mT.flatten(2).transpose(1, 2)  # (B, H * W, C)",
        ),
        (
            "model",
            "condition = self.time_embedding(t) + self.label_embedding(labels)",
            "condition = self.time_embedding(t)",
        ),
    ],
    "04": [
        ("diffusion", "d_alpha=lambda t: -torch", "d_alpha=lambda t: torch"),
        ("diffusion", "x0 = (self.d_sigma(t) * xt - self", "x0 = (self.d_sigma(t) * xt + self"),
        ("diffusion", "return self.alpha(t) * x0 + self.sigma(t) * noise", "return x0 + noise"),
        ("diffusion", "d_sigma=lambda t: math.pi / 2 * torch.cos", "d_sigma=lambda t: torch.cos"),
        ("diffusion", "u = ((order + u) / num)", "u = u"),
        ("diffusion", "return z.sigmoid()", "return u"),
    ],
    "05": [
        ("training", "velocity = path.velocity(x0, noise, t)", "velocity = noise + x0"),
        ("training", "< label_dropout", "> label_dropout"),
        ("optimizer", "(n / (n + 1)) ** (exponent + 1)", "(n / (n + 1)) ** exponent"),
        ("optimizer", "remaining / decay if decay > 0", "remaining * decay if decay > 0"),
        ("optimizer", "min(1.0, (step + 1) / warmup,", "min(1.0, step / warmup + 1,"),
        ("optimizer", "for _ in range(5)", "for _ in range(4)"),
        ("optimizer", "beta=b, alpha=c), x, beta=a", "beta=b, alpha=c), x, beta=b"),
    ],
    "06": [
        ("sampling", "torch.lerp(without, with_label,", "torch.lerp(with_label, without,"),
        ("sampling", "(velocity + velocity_next) / 2", "(velocity + velocity_next)"),
        ("sampling", "(h / h_before / 2)", "(h / h_before)"),
        ("sampling", "t), t_next)\n    return x", "t), t)\n    return x"),
        ("sampling", "steps - tail + 1", "steps - tail + 2"),
        ("sampling", "even[-2] / 3 **", "even[-2] / 2 **"),
    ],
    "07": [
        ("evaluation", "[0.25, 0.5, 0.25]", "[0.5, 0.5, 0.5]"),
        ("evaluation", "radii(real)[None, :]", "radii(generated)[:, None]"),
        ("evaluation", "kthvalue(k + 1, dim=1)", "kthvalue(k, dim=1)"),
        ("evaluation", "best / flat.shape[1] ** 0.5", "best"),
        ("evaluation", "generated.cpu().double()", "real.cpu().double()"),
    ],
}  # fmt: skip


def notebook(lesson: str) -> Path:
    """The lesson whose number this is."""
    (path,) = (ROOT / "notebooks").glob(f"{lesson}_*.ipynb")
    return path


def passes(lesson: str, package: Path) -> bool:
    """Whether the lesson passes with the package in this folder."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-x", "-q", str(notebook(lesson))]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        raise SystemExit(done.stdout + done.stderr)
    return done.returncode == 0


def mutated(folder: Path, file: str, old: str, new: str) -> None:
    """A copy of the package in which one place is changed."""
    shutil.copytree(ROOT / "aetherfusion", folder / "aetherfusion")
    path = folder / "aetherfusion" / f"{file}.py"
    text = path.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{file}.py has {old!r} {text.count(old)} times; correct the list")
    path.write_text(text.replace(old, new))


def main() -> None:
    """Prints a line for each mutant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", choices=[[], *MUTANTS])
    survivors = 0
    for lesson in parser.parse_args().lessons or MUTANTS:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ROOT / "aetherfusion", Path(folder) / "aetherfusion")
            if not passes(lesson, Path(folder)):  # then a failure says nothing about a mutant
                raise SystemExit(f"{lesson} fails although nothing was changed; correct it first")
        for file, old, new in MUTANTS[lesson]:
            with tempfile.TemporaryDirectory() as folder:
                mutated(Path(folder), file, old, new)
                survived = passes(lesson, Path(folder))
            survivors += survived
            result = "SURVIVED" if survived else "fails, as it must"
            print(f"{lesson}: {file}.py: {' '.join(new.split())}: {result}", flush=True)
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
