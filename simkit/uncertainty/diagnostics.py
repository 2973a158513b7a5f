"""What a sampling says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from simkit.datasets.base import Dataset
from simkit.datasets.combine import Subset
from simkit.evaluation import evaluate
from simkit.potential import Potential
from simkit.uncertainty.convergence import SHORTEST, convergence
from simkit.uncertainty.posterior import frames_loader

PROBES = 8
"""Most frames whose energies are compared between chains."""


def probe_energies(chains: Sequence[Sequence[Potential]], dataset: Dataset) -> Float[ndarray, "probes chains samples"]:
    """Energy per atom in eV of frames spread over a dataset, by every sample of every chain."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, PROBES).astype(int)).tolist()
    (batch,) = frames_loader(chains[0][0], Subset(dataset, chosen), len(chosen))
    batch = batch.to(chains[0][0].device)
    rows = [
        [evaluate(member, batch.system, batch.neighbours, ("energy",)).energy / batch.system.counts for member in chain]
        for chain in chains
    ]
    return torch.stack([torch.stack(row) for row in rows]).permute(2, 0, 1).cpu().numpy()


def judge(quantities: Float[ndarray, "quantities chains samples"]) -> dict[str, Any]:
    """Largest R-hat and smallest effective number of samples; None where chains are too short."""
    if quantities.shape[2] < SHORTEST:
        return {"r_hat_max": None, "effective_samples_min": None}
    found = [convergence(one) for one in quantities]
    return {
        "r_hat_max": max(one.r_hat for one in found),
        "effective_samples_min": min(one.effective_samples for one in found),
    }
