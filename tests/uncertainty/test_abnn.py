"""Noise in scalar channels: equal to gates in the network, and harmless to symmetries and conservation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.potential import Potential
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import load_model, save_model
from simkit.potentials.painn import PaiNN
from simkit.uncertainty.abnn import AbnnSettings, adapt
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.gates import find_gates
from simkit.uncertainty.parameters import ParameterVector
from tests.training.examples import CUTOFF, guess, triangles
from tests.training.running import small_painn


def small_mace(interaction: str = "residual") -> MACE:
    return MACE(
        elements=[18],
        cutoff=CUTOFF,
        hidden_irreps="4x0e+4x1o",
        max_ell=1,
        correlation=2,
        layers=2,
        n_radial=4,
        radial_mlp=(8,),
        readout_mlp="4x0e",
        first_interaction=interaction,
        interaction=interaction,
        apply_cutoff=interaction != "residual_nonlinear",
    )


def with_factors(potential: Potential, noise: Tensor) -> Potential:
    vector = ParameterVector(potential)
    factors = find_gates(vector).factors(noise, vector.size)
    (changed,) = vector.copies((factors * vector.read())[None])
    return changed


def test_gates_of_painn_are_factors_of_its_hidden_channels() -> None:
    """The parameters of a draw against gates that multiply the layers' outputs in the network itself."""
    torch.manual_seed(1)
    potential = PaiNN([18], cutoff=CUTOFF, channels=4, layers=2, n_radial=4)
    for parameter in potential.parameters():
        nn.init.normal_(parameter, std=0.7)
    names = [f"messages.{layer}.scalar.0" for layer in (0, 1)]
    names += [f"updates.{layer}.gates.0" for layer in (0, 1)] + ["readout.0"]
    modules = [(name, module) for name, module in potential.named_modules() if name in names]
    sizes = [module.out_features for _, module in modules]
    assert find_gates(ParameterVector(potential)).count == sum(sizes)
    noise = 0.3 * torch.randn(sum(sizes))
    frame = triangles(1)[0]
    changed = evaluate(with_factors(potential, noise), frame.system)
    for (_, module), part in zip(modules, noise.split(sizes), strict=True):
        module.register_forward_hook(lambda module, inputs, output, part=part: output * (1 + part))
    gated = evaluate(potential, frame.system)
    assert torch.allclose(changed.energy, gated.energy, rtol=1e-12)
    assert torch.allclose(changed.forces, gated.forces, rtol=1e-10, atol=1e-12)


def test_gates_of_mace_are_factors_of_its_scalars() -> None:
    potential = small_mace()
    modules = [(name, potential.get_submodule(name)) for name in ("products.0.linear", "products.1.linear")]
    modules.append(("readouts.1.linear_1", potential.get_submodule("readouts.1.linear_1")))
    assert find_gates(ParameterVector(potential)).count == 12
    noise = 0.3 * torch.randn(12)
    frame = triangles(1)[0]
    changed = evaluate(with_factors(potential, noise), frame.system)
    for (_, module), part in zip(modules, noise.split(4), strict=True):
        module.register_forward_hook(lambda module, inputs, output, part=part: [output[0] * (1 + part), *output[1:]])
    gated = evaluate(potential, frame.system)
    assert torch.allclose(changed.energy, gated.energy, rtol=1e-12)
    assert torch.allclose(changed.forces, gated.forces, rtol=1e-10, atol=1e-12)


def test_normalisation_layers_come_first_and_wrappers_are_looked_into() -> None:
    normalised = small_mace("residual_nonlinear")
    norms = [m for m in normalised.modules() if isinstance(m, nn.LayerNorm)]
    assert norms
    assert find_gates(ParameterVector(normalised)).count == sum(m.weight.numel() for m in norms)
    wrapped = ElementShift(small_painn(), {"Ar": 1.0})
    assert find_gates(ParameterVector(wrapped)).count == find_gates(ParameterVector(small_painn())).count


def test_without_noise_and_training_it_is_the_potential() -> None:
    potential, data = small_painn(), triangles(4)
    settings = AbnnSettings(noise=0.0, copies=2, draws=2, epochs=0)
    ensemble = adapt(potential, data, settings)
    assert ensemble.n_members == 4
    base, found = evaluate(potential, data[0].system), evaluate(ensemble, data[0].system)
    assert torch.allclose(found.energy, base.energy, rtol=1e-10)
    assert torch.allclose(found.forces, base.forces, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [small_painn, small_mace])
def test_draws_keep_symmetries_and_conserve_energy(make) -> None:
    data = triangles(2)
    ensemble = adapt(make(), data, AbnnSettings(noise=0.2, copies=1, draws=2, epochs=0))
    system = data[0].system
    for member in ensemble.members:
        assert isinstance(member, Potential)
        reference = evaluate(member, system)
        order = torch.tensor([2, 0, 1])
        permuted = evaluate(member, replace(system, positions=system.positions[order]))
        assert torch.allclose(permuted.energy, reference.energy)
        assert torch.allclose(permuted.forces, reference.forces[order], atol=1e-10)
        turn, _ = torch.linalg.qr(torch.randn(3, 3))
        turned = evaluate(member, replace(system, positions=system.positions @ turn.T))
        assert torch.allclose(turned.energy, reference.energy)
        assert torch.allclose(turned.forces, reference.forces @ turn.T, atol=1e-10)
        shift = torch.zeros_like(system.positions)
        shift[1, 0] = 1e-5
        above, below = (evaluate(member, replace(system, positions=system.positions + s * shift)) for s in (1, -1))
        assert float(above.energy - below.energy) / -2e-5 == pytest.approx(float(reference.forces[1, 0]), abs=1e-7)
    first, second = (evaluate(member, system).energy for member in ensemble.members)
    assert not torch.allclose(first, second)


def test_the_same_seed_gives_the_same_ensemble_and_files_are_exact(tmp_path: Path) -> None:
    potential, data = small_painn(), triangles(4)
    before = ParameterVector(potential).read()
    settings = AbnnSettings(copies=2, draws=2, epochs=1)
    one, two = (adapt(potential, data, settings, seed=3) for _ in range(2))
    assert torch.equal(ParameterVector(potential).read(), before)
    system = data[0].system
    assert torch.equal(one.predict(system).forces_cov, two.predict(system).forces_cov)
    other = adapt(potential, data, settings, seed=9)
    assert not torch.equal(one.predict(system).forces_cov, other.predict(system).forces_cov)
    save_model(tmp_path / "abnn.simkit", one)
    again = load_model(tmp_path / "abnn.simkit")
    assert isinstance(again, Ensemble)
    assert again.provenance.method == "ABNN, 2 copies, 2 draws of each, noise 0.01"
    assert torch.equal(again.predict(system).energy_std, one.predict(system).energy_std)


def test_fine_tuning_lowers_the_error() -> None:
    potential, data = small_painn(), triangles(6)
    energies = []
    for epochs in (0, 5):
        settings = AbnnSettings(noise=0.005, copies=1, draws=2, epochs=epochs, learning_rate=0.5)
        ensemble = adapt(potential, data, settings)
        errors = [evaluate(ensemble, frame.system).forces - frame.labels.forces for frame in data]
        energies.append(float(torch.cat(errors).square().mean()))
    assert energies[1] < energies[0]


def test_potentials_without_known_scalars_say_so() -> None:
    with pytest.raises(SimkitError, match="no trained layers with scalar channels are known of this lennard-jones"):
        adapt(guess(), triangles(3), AbnnSettings())
    named = AbnnSettings(layers=("readout.0",), epochs=0, copies=1, draws=2)
    assert adapt(small_painn(), triangles(3), named).n_members == 2
