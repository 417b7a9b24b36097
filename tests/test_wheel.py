"""What an installed wheel holds and does, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the package comes from a wheel built now."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    # From what git tracks, so that a file that was never added is missed here as it would be by a user.
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / name, source / name)
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)], check=True
    )
    [wheel] = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "AIIDA_PATH": str(folder), "WHERE": str(folder)}


def run(installed: dict[str, str], *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=installed, cwd=installed["WHERE"], input=text, capture_output=True, text=True
    )


def hardcoat(installed: dict[str, str], *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return run(installed, "-c", "from aiida_hardcoat.cli import main; main()", *arguments, text=text)


def test_the_package_comes_from_the_wheel(installed: dict[str, str]) -> None:
    done = run(installed, "-c", "import aiida_hardcoat; print(aiida_hardcoat.__file__)")
    assert done.stdout.startswith(installed["PYTHONPATH"])


def test_tensor_works_without_a_profile(installed: dict[str, str]) -> None:
    done = hardcoat(installed, "tensor", "-", "--symmetry", "cubic", text="500 150 200\n")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert not (Path(installed["AIIDA_PATH"]) / ".aiida").exists()


def test_setup_and_a_dry_run_find_protocols_engines_and_the_driver(installed: dict[str, str]) -> None:
    done = hardcoat(installed, "setup")
    assert done.returncode == 0, done.stderr
    plan = hardcoat(installed, "run", "Ti0.5Al0.5N", "-s", "B3", "--atoms", "8", "--protocol", "fast", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "Al2N4Ti2" in plan.stdout
    driver = run(installed, "-c", "from aiida_hardcoat.engines import ase_driver; print(ase_driver.__file__)")
    assert driver.stdout.startswith(installed["PYTHONPATH"])
