"""Fused loops for the operations where equivariant networks spend their time.

Each operation has a reference in plain torch, in the code of its model, and a kernel here that computes the same. On
the CPU kernels are compiled by numba, which the extra ``fast`` installs; they are operators of torch with derivatives
of any order. :func:`kernels` chooses; by default kernels are used wherever they can be.
"""

from simkit.potentials.kernels.selection import kernels, kernels_apply

__all__ = ["kernels", "kernels_apply"]
