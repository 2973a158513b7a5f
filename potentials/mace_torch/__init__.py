"""Models of mace-torch, read without executing anything in their files."""

from simkit.potentials.mace_torch.reader import read_mace_torch

__all__ = ["read_mace_torch"]
