"""Chains: what is kept, steps that shrink, and continuation to the last bit."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from simkit.errors import Interrupted, SimkitError
from simkit.uncertainty.chains import Chain, ChainSettings, Cyclical, Polynomial
from simkit.uncertainty.convergence import r_hat
from simkit.uncertainty.samplers import BAOA, HMC, PSGLD, SGLD, Sampler
from tests.uncertainty.densities import Gaussian, Regression

GROUPS = (torch.arange(0, 6, 2), torch.arange(1, 6, 2))


class Stopping(Regression):
    """Asks its own process to stop when a step is evaluated."""

    def __init__(self, batch: int | None, at: int) -> None:
        super().__init__(batch, width=6)
        self.at = at

    def evaluate(self, position: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)
            self.at = -1
        return super().evaluate(position, step)


@pytest.mark.parametrize(
    ("sampler", "groups"),
    [(BAOA(step=1e-2), ()), (PSGLD(step=1e-3), ()), (HMC(step=1e-2), ()), (BAOA(step=1e-2), GROUPS)],
)
def test_an_interrupted_chain_continues_to_the_last_bit(
    sampler: Sampler, groups: tuple[Tensor, ...], tmp_path: Path
) -> None:
    settings = ChainSettings(steps=40, kept=5, memory=7)
    batch = None if isinstance(sampler, HMC) else 20
    start = torch.zeros(6)
    whole = Chain(Stopping(batch, -1), sampler, start, settings, groups=groups).run()
    path = tmp_path / "chain.safetensors"
    with pytest.raises(Interrupted, match="after 24 of 40"):
        Chain(Stopping(batch, 23), sampler, start, settings, path=path, groups=groups).run()
    again = Chain(Stopping(batch, -1), sampler, start, settings, path=path, groups=groups).run()
    assert torch.equal(again.samples, whole.samples)
    assert torch.equal(again.energies, whole.energies)
    assert torch.equal(again.sampler.position, whole.sampler.position)
    finished = Chain(Stopping(batch, -1), sampler, start, settings, path=path, groups=groups)
    assert finished.done == 40


def test_another_chain_is_not_continued(tmp_path: Path) -> None:
    settings, path = ChainSettings(steps=10, kept=2), tmp_path / "chain.safetensors"
    Chain(Regression(None), SGLD(step=1e-4), torch.zeros(3), settings, path=path).run()
    with pytest.raises(SimkitError, match="seed: 0 there, 1 now"):
        Chain(Regression(None), SGLD(step=1e-4), torch.zeros(3), settings, path=path, seed=1)


def test_kept_samples_are_spread_over_what_follows_the_burn_in() -> None:
    assert ChainSettings(steps=30, kept=4).kept_steps() == [15, 20, 25, 30]
    settings = ChainSettings(steps=400, kept=12, decay=Cyclical(cycles=4))
    assert all((step - 1) % 100 >= 50 for step in settings.kept_steps())
    assert settings.kept_steps()[-1] == 400


def test_schedules() -> None:
    polynomial = ChainSettings(decay=Polynomial(power=0.5), steps=1000)
    assert polynomial.scale(0) == 1.0
    assert polynomial.scale(300) == pytest.approx(0.5)
    cyclical = ChainSettings(decay=Cyclical(cycles=4, smallest=0.1), steps=400)
    assert [cyclical.scale(step) for step in (0, 100, 50, 99)] == pytest.approx([1.0, 1.0, 0.5, 0.1])


def test_too_few_steps_to_keep() -> None:
    with pytest.raises(ValidationError, match="only 7 steps can be kept of 10, but 8"):
        ChainSettings(steps=10, kept=8)


def test_chains_on_one_mode_agree_and_on_two_do_not() -> None:
    settings = ChainSettings(steps=480, kept=160)
    unimodal = [Chain(Regression(None), BAOA(step=0.02), torch.zeros(3), settings, seed=s).run() for s in range(4)]
    values = torch.stack([state.samples[:, 0] for state in unimodal])
    assert r_hat(values.numpy()) < 1.1

    class Wells(Gaussian):
        """``U = 8 (x² - 1)²``: two modes with a barrier of 8 between them."""

        def evaluate(self, position: Tensor, step: int) -> tuple[Tensor, Tensor]:
            return 8 * (position**2 - 1).square().sum(), 32 * position * (position**2 - 1)

    wells = Wells(torch.eye(1), 1)
    starts = [torch.tensor([sign]) for sign in (-1.0, -1.0, 1.0, 1.0)]
    apart = [Chain(wells, BAOA(step=0.1), start, settings, seed=s).run() for s, start in enumerate(starts)]
    assert r_hat(torch.stack([state.samples[:, 0] for state in apart]).numpy()) > 1.5


def test_structured_sampling_finds_the_best_factorised_density() -> None:
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    copies = 100
    groups = (torch.arange(0, 2 * copies, 2), torch.arange(1, 2 * copies, 2))
    target = Gaussian(torch.linalg.inv(covariance), copies)
    settings = ChainSettings(steps=4000, kept=300, memory=200)
    state = Chain(target, SGLD(step=0.01), torch.zeros(2 * copies), settings, groups=groups).run()
    found = torch.cov(state.samples.reshape(-1, 2).T)
    assert torch.allclose(found.diagonal(), torch.tensor(0.19), rtol=0.1)
    assert abs(float(found[0, 1])) < 0.01


def test_groups_hold_every_parameter_once() -> None:
    settings = ChainSettings(steps=4, kept=1)
    for groups in ((torch.arange(2),), (torch.arange(3), torch.arange(2))):
        with pytest.raises(SimkitError, match="each of 3 parameters once"):
            Chain(Regression(None), SGLD(step=1e-4), torch.zeros(3), settings, groups=groups)


def test_a_chain_that_diverges_says_so() -> None:
    with pytest.raises(SimkitError, match="left all bounds"), torch.no_grad():
        Chain(Gaussian(torch.eye(1)), SGLD(step=1e3), torch.ones(64), ChainSettings(steps=400, kept=1)).run()


def test_the_kinetic_temperature_is_recorded() -> None:
    settings = ChainSettings(steps=300, kept=1, temperature=0.25)
    state = Chain(Gaussian(torch.eye(1), 500), BAOA(step=0.3), torch.zeros(500), settings).run()
    assert float(state.heats[100:].mean()) == pytest.approx(0.25, rel=0.05)
    assert math.isnan(Chain(Gaussian(torch.eye(1)), SGLD(step=0.1), torch.zeros(64), settings).run().heats[0])
