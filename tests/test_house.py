"""The project files agree with each other, and the README's examples and links work."""

import re
import sys
from pathlib import Path

import pytest
import yaml

import aetherfusion

ROOT = Path(__file__).parent.parent

if sys.version_info >= (3, 11):
    import tomllib

    PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
else:
    PROJECT = None


needs_toml = pytest.mark.skipif(PROJECT is None, reason="tomllib comes with Python 3.11")


@needs_toml
def test_environment_agrees_with_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = (line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    # Everything else comes from pyproject.toml: what the lessons need, not what the tests do.
    (install,) = pip
    assert re.fullmatch(r"-e \.\[(.*)\]", install)
    named = set(re.findall(r"\w+", install.partition("[")[2]))
    assert named == {"notebooks", "eval"}


@needs_toml
def test_dependencies_are_floors_only() -> None:
    extras = PROJECT["optional-dependencies"].values()
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", line), line
    core = {line.partition(">")[0] for line in PROJECT["dependencies"]}
    assert core == {
        "torch", "torchvision", "filelock", "pooch", "safetensors", "tqdm", "typer", "matplotlib",
    }  # fmt: skip


def test_every_mutant_of_the_lessons_changes_one_place() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from mutate_lessons import MUTANTS

    for file, old, new in [mutant for mutants in MUTANTS.values() for mutant in mutants]:
        found = (ROOT / "aetherfusion" / f"{file}.py").read_text("utf-8").count(old)
        assert found == 1 and old != new, f"{file}.py has {old!r} {found} times"


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == aetherfusion.__version__
    assert citation["license"] == "MIT" and "MIT License" in (ROOT / "LICENSE").read_text()


def test_local_links_and_pictures_of_the_readme_exist() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("aetherfusion/*/*.md")]
    for page in pages:
        for alt, target in re.findall(r"(!?\[[^\]]*\])\(([^)\s]+)\)", page.read_text()):
            if not target.startswith(("http", "#")):
                assert (page.parent / target).exists(), (page.name, target)
            assert alt not in ("![]", "[]"), f"{page.name}: {target} needs words"


def test_readme_example_is_the_original_one() -> None:
    readme = (ROOT / "README.md").read_text()
    for line in (
        "model = DiffusionTransformerUNet(image_size=32, num_classes=10, embedding_dim=128, "
        "num_heads=4)",
        "criterion = nn.MSELoss()",
        "optimizer = optim.Adam(model.parameters(), lr=1e-4)",
        "train(model, trainloader, criterion, optimizer, num_epochs=50)",
        "samples = generate_images(model, num_samples=10)",
    ):
        assert line in readme, line


def test_nothing_tracked_is_a_data_set_or_too_big() -> None:
    for path in (ROOT / "aetherfusion").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.stat().st_size <= 16_000_000, path
