"""Samples of the posterior of a potential's parameters, as an ensemble."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simkit.datasets.base import Dataset
from simkit.files import write_json
from simkit.potential import Potential
from simkit.potentials.model_file import save_model
from simkit.progress import Progress, Silent
from simkit.uncertainty.chains import ChainState
from simkit.uncertainty.convergence import SHORTEST
from simkit.uncertainty.diagnostics import judge, probe_energies
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.posterior import start_scales
from simkit.uncertainty.potential_chain import PotentialChain, SamplingSettings, loaded
from simkit.uncertainty.sampler import HOTTEST
from simkit.uncertainty.structured import CITATION as STRUCTURED

CITATION = (
    "S. Thaler, G. Doehner, J. Zavadlav, J. Chem. Theory Comput. 19, 4520 (2023), doi:10.1021/acs.jctc.2c01267 "
    "(arXiv:2212.07959)"
)
ENSEMBLE, DIAGNOSTICS = "ensemble.simkit", "diagnostics.json"
"""Files that a sampling leaves in its folder."""

DISAGREEING = 1.1
"""R-hat above which chains are said to disagree."""


def sample_posterior(
    potentials: Sequence[Potential | str | os.PathLike[str]],
    dataset: Dataset,
    settings: SamplingSettings,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ensemble:
    """Sample the posterior of a potential's parameters by one chain for each trained potential.

    The folder receives a checkpoint for each chain, the ensemble of all kept samples and ``diagnostics.json``: R-hat
    and effective samples of the energies of training frames, temperatures, error scales, and whether all this allows
    to call the samples those of the posterior. A call with the same arguments continues what was interrupted, to the
    last bit.

    Args:
        potentials: trained apart on the dataset, or their model files; four at least are advisable, because one chain
            stays near where it starts and gives far too small uncertainties.
        dataset: the training frames.
        settings: of posterior, chains and sampler.
        folder: where it writes.
        seed: of the chains' noise and of the order of minibatches.
        progress: where bars and warnings are shown.

    Raises:
        SimkitError: no potentials, or ones without trained parameters; a step that is not stable; a folder of another
            sampling.
        DataError: a frame that cannot be used, or labels that are missing everywhere.

    Reference: S. Thaler, G. Doehner, J. Zavadlav, J. Chem. Theory Comput. 19, 4520 (2023).
    """
    progress, folder = progress or Silent(), Path(folder)
    starts = loaded(potentials)
    if len(starts) == 1:
        progress.warn(
            "one chain stays near the potential that it starts from, and its uncertainties are several times too "
            "small: train four potentials with other seeds, and start a chain from each"
        )
    scales = start_scales(starts, dataset, settings.posterior)
    chains, states, reports = [], [], []
    for index, potential in enumerate(starts):
        one = PotentialChain(potential, dataset, settings, scales, seed + index)
        state = one.run(folder / f"chain-{index}.safetensors", progress, f"chain {index + 1} of {len(starts)}")
        states.append(state)
        chains.append(one.members(state))
        reports.append(one.report(state))
    heated = max(report["temperature_factor_max"] for report in reports)
    if heated > HOTTEST:
        progress.warn(
            f"the noise of the minibatches heats some parameters to {heated:.3g} times the temperature asked for: do "
            "not call these samples the posterior. Use larger minibatches or all frames, control_variates, or a "
            "smaller step"
        )
    verdict = _judged(chains, dataset, states, progress)
    agreed = verdict["predicted_energies"]["r_hat_max"]
    converged = heated <= HOTTEST and agreed is not None and agreed <= DISAGREEING
    facts = {"settings": settings.model_dump(mode="json"), "is_posterior": converged, "chains": reports, **verdict}
    members = [member for chain in chains for member in chain]
    citations = (CITATION, STRUCTURED) if settings.groups else (CITATION,)
    ensemble = Ensemble(*members, method=_method(settings, len(starts), heated), citations=citations)
    facts = _without_infinities(facts)
    save_model(folder / ENSEMBLE, ensemble, metadata={"sampling": facts})
    write_json(folder / DIAGNOSTICS, facts)
    return ensemble


def _without_infinities(tree: Any) -> Any:
    """The same nested facts with None for numbers that JSON does not have."""
    if isinstance(tree, dict):
        return {name: _without_infinities(branch) for name, branch in tree.items()}
    if isinstance(tree, list):
        return [_without_infinities(branch) for branch in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _method(settings: SamplingSettings, chains: int, heated: float) -> str:
    name = f"sg-mcmc {settings.sampler.kind}, {chains} chains, T = {settings.chain.temperature:g}"
    if settings.groups:
        name += ", structured"
    return name + (", heated by minibatches" if heated > HOTTEST else "")


def _judged(chains: list[list[Potential]], dataset: Dataset, states: list[ChainState], progress: Progress) -> dict:
    """How far the chains agree, in what their samples predict and in U; a warning if they do not."""
    verdict = judge(probe_energies(chains, dataset))
    r_hat = verdict["r_hat_max"]
    if r_hat is None:
        progress.say(
            f"note: whether the chains agree (R-hat) cannot be told from {len(chains[0])} samples of each: keep at "
            f"least {SHORTEST} (kept)"
        )
    elif r_hat > DISAGREEING:
        progress.warn(
            f"the chains disagree on the energies of training frames (R-hat {r_hat:.3g}, expected below "
            f"{DISAGREEING}): each samples around its own start. Their spread is useful, but not that of a converged "
            "posterior; longer chains may help"
        )
    traces = np.stack([state.energies.cpu().numpy() for state in states])
    return {"predicted_energies": verdict, "minus_log_density": judge(traces[None, :, traces.shape[1] // 2 :])}
