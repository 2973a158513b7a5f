"""Make the virtual environments of the programs that simkit is compared with; their pins exclude one another.

Usage::

    python benchmarks/peers/make_environment.py mace

makes ``benchmarks/peers/environments/mace``; run a script of this folder with the Python in it. No foundation model is
downloaded: those of MACE are published on GitHub and Hugging Face, not in a package registry.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
REQUIREMENTS = {"mace": ("mace-torch==0.3.16",), "torchsim": ("torch-sim-atomistic==0.3.0", "ase>=3.26")}
"""Packages of each environment, beside PyTorch; mace-torch pins e3nn 0.4.4."""


def make_environment(name: str, folder: Path) -> Path:
    """Make an environment by pip and return its Python."""
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", TORCH, *REQUIREMENTS[name]], check=True)
    return python


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in REQUIREMENTS:
        sys.exit(f"expected one of: {', '.join(REQUIREMENTS)}")
    print(make_environment(sys.argv[1], Path(__file__).parent / "environments" / sys.argv[1]))
