"""MACE: its rules for isolated atoms, receptive field, heads, elements, and training."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from simkit.errors import SimkitError, UnsupportedElementError
from simkit.evaluation import evaluate
from simkit.neighbours import build_neighbours
from simkit.potentials.kernels import kernels
from simkit.potentials.mace import MACE, with_elements
from simkit.potentials.mace.convolution import Edges
from simkit.potentials.mace.couplings import full_couplings
from simkit.potentials.options import check_mace, coupling_bytes
from simkit.system import System, concatenate

ENERGIES = [[-1.1, -3.3, -5.5]]
SMALL: dict[str, Any] = {
    "elements": (1, 6, 8),
    "cutoff": 3.0,
    "hidden_irreps": "4x0e+4x1o",
    "max_ell": 2,
    "n_radial": 5,
    "radial_mlp": (8,),
    "average_neighbours": 5.0,
    "reference_energies": ENERGIES,
}
NONLINEAR = {"first_interaction": "residual_nonlinear", "interaction": "residual_nonlinear", "apply_cutoff": False}


def atom(symbol: str) -> System:
    return System.from_ase(Atoms(symbol))


def ethanol() -> System:
    return System.from_ase(molecule("CH3CH2OH"))


def energy(model: MACE, system: System) -> float:
    return float(evaluate(model, system, outputs=("energy",)).energy)


def forces(model: MACE, system: System) -> Tensor:
    found = evaluate(model, system).forces
    assert found is not None
    return found


@pytest.mark.parametrize("first", ["agnostic", "density"])
def test_isolated_atom_has_its_reference_energy(first: str) -> None:
    model = MACE(**SMALL, first_interaction=first)
    assert energy(model, atom("C")) == -3.3
    assert energy(MACE(**SMALL, first_interaction=first, shift=0.11), atom("C")) == pytest.approx(-3.19, abs=1e-12)


@pytest.mark.parametrize("first", ["residual", "density_residual"])
def test_residual_first_layer_gives_isolated_atoms_a_learned_energy(first: str) -> None:
    model = MACE(**SMALL, first_interaction=first)
    assert abs(energy(model, atom("C")) + 3.3) > 1e-3


def test_dissociated_molecule_is_its_atoms() -> None:
    model = MACE(**SMALL)
    far = System.from_ase(Atoms("CO", [[0, 0, 0], [0, 0, 3.0001]]))
    assert energy(model, far) == pytest.approx(energy(model, atom("C")) + energy(model, atom("O")), abs=1e-12)


def test_correlation_one_is_pairwise_in_one_layer() -> None:
    """With ν = 1 a layer's energy is a sum over pairs: that of a trimer follows from its dimers and atoms."""
    positions = [[0, 0, 0], [1.3, 0.2, 0], [0.4, 1.5, 0.7]]
    for correlation, pairwise in ((1, True), (2, False)):
        torch.manual_seed(0)
        model = MACE(**SMALL, layers=1, correlation=correlation)
        trimer = energy(model, System.from_ase(Atoms("CHO", positions)))
        atoms = [energy(model, atom(symbol)) for symbol in "CHO"]
        rest = 0.0
        for i, j in ((0, 1), (0, 2), (1, 2)):
            pair = Atoms(["CHO"[i], "CHO"[j]], [positions[i], positions[j]])
            rest += energy(model, System.from_ase(pair)) - atoms[i] - atoms[j]
        assert (abs(trimer - sum(atoms) - rest) < 1e-12) is pairwise


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_receptive_field_is_layers_times_cutoff(layers: int) -> None:
    """Energies along a chain react to the last atom exactly as far as messages reach."""
    model = MACE(**SMALL, layers=layers)
    spacing = 2.5
    chain = System.from_ase(Atoms("C5", [[0, 0, spacing * i] for i in range(5)]))
    positions = chain.positions.clone()
    positions[-1, 0] += 0.3
    before = evaluate(model, chain, outputs=("energies",)).energies
    after = evaluate(model, replace(chain, positions=positions), outputs=("energies",)).energies
    assert before is not None
    assert after is not None
    changed = (before - after).abs() > 1e-12
    assert changed.tolist() == [distance <= layers for distance in (4, 3, 2, 1, 0)]
    assert model.interaction_range == layers * 3.0


def test_features_are_the_scalars_of_all_layers() -> None:
    found = evaluate(MACE(**SMALL, layers=3), ethanol(), outputs=("features",)).features
    assert found is not None
    assert found.shape == (9, 12)


def test_heads() -> None:
    """Each system follows its own head; without one, the default."""
    several = {**SMALL, "reference_energies": [ENERGIES[0], [-1.0, -3.0, -5.0]]}
    model = MACE(**several, heads=("pbe", "r2scan"), default_head="r2scan", scale=(0.7, 0.8), shift=(0.1, 0.2))
    both = concatenate([ethanol(), ethanol()])
    found = evaluate(model, replace(both, head=torch.tensor([0, 1])))
    assert float(found.energy[0] - found.energy[1]) != pytest.approx(0, abs=1e-3)
    default = evaluate(model, ethanol())
    torch.testing.assert_close(found.energy[1], default.energy[0])
    assert found.forces is not None
    assert default.forces is not None
    torch.testing.assert_close(found.forces[9:], default.forces, atol=1e-12, rtol=0)


def test_padded_edges_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether sums over neighbours are matrix products over padded rows or scattered additions."""
    # a molecule of eight hydrogens in which degrees differ: padding is worthwhile, and not trivial
    positions = torch.rand(8, 3).numpy() * 3.5
    system = System.from_ase(Atoms("C4H4", positions))
    neighbours = build_neighbours(system, 3.0)
    counts = torch.bincount(neighbours.centre)
    assert 1 < 8 * int(counts.max()) / neighbours.n_edges < 1.3
    for options in ({}, NONLINEAR, {"interaction": "density_residual", "zbl": "inside"}):
        model = MACE(**SMALL, **options)
        with kernels("reference"):
            padded = forces(model, system)
            with monkeypatch.context() as patch:
                patch.setattr(Edges, "padded", lambda self, n_atoms: self)
                torch.testing.assert_close(padded, forces(model, system), atol=1e-12, rtol=1e-10)


def test_repulsion_outside_of_the_scale() -> None:
    """Differs from that inside by the scale of the repulsion alone."""
    system = System.from_ase(Atoms("OH", [[0, 0, 0], [0, 0, 0.6]]))
    found = {}
    for zbl in (None, "inside", "outside"):
        torch.manual_seed(0)
        found[zbl] = energy(MACE(**SMALL, zbl=zbl, scale=0.25), system)
    assert found["inside"] - found[None] == pytest.approx(0.25 * (found["outside"] - found[None]))
    assert found["outside"] - found[None] > 1


@pytest.mark.parametrize("elements", [(8, 1), (1, 6, 7, 8, 14)])
@pytest.mark.parametrize("options", [{}, {"first_interaction": "agnostic", "element_weights": False}, NONLINEAR])
def test_other_elements_keep_energies_of_shared_ones(elements: tuple[int, ...], options: dict[str, Any]) -> None:
    model = MACE(**SMALL, **options)
    reference = [[{1: -1.1, 6: -3.3, 8: -5.5}.get(z, -7.7) for z in elements]]
    other = with_elements(model, elements, reference)
    water = System.from_ase(molecule("H2O"))
    assert energy(other, water) == pytest.approx(energy(model, water), abs=1e-12)
    torch.testing.assert_close(forces(other, water), forces(model, water), atol=1e-12, rtol=0)
    assert other.capabilities.elements == elements


def test_reference_energies_of_new_elements_are_required() -> None:
    model = MACE(**SMALL)
    assert with_elements(model, (8, 1)).reference_energies.values.tolist() == [[-5.5, -1.1]]
    with pytest.raises(SimkitError, match=r"reference energies, in eV, for the new elements N;"):
        with_elements(model, (1, 7))
    with pytest.raises(SimkitError, match="at least one of the elements"):
        with_elements(model, (7, 14), [[0.0, 0.0]])


def test_unknown_element() -> None:
    with pytest.raises(UnsupportedElementError, match="also contains N"):
        energy(MACE(**SMALL), System.from_ase(molecule("NH3")))


def test_conversion_to_float32_and_back_restores_symmetry() -> None:
    """Constants keep their float64 values, so only the weights are rounded."""
    model = MACE(**SMALL).float().double()
    system = ethanol()
    turned = replace(system, positions=system.positions @ torch.linalg.qr(torch.randn(3, 3))[0])
    assert energy(model, turned) == pytest.approx(energy(model, system), abs=1e-11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_irreps": "4x0e+2x1o"}, "equally many channels"),
        ({"hidden_irreps": "4x0e+4x1e"}, "natural parity"),
        ({"hidden_irreps": "4x1o"}, "natural parity"),
        ({"max_ell": 0}, "go beyond max_ell=0"),
        ({"correlation": [3, 3, 3]}, "one correlation order for each of 2 layers"),
        ({"correlation": [3, 0]}, "from 1 to 10"),
        ({"interaction": "attention"}, "residual_nonlinear; found 'attention'"),
        ({"interaction": "residual_nonlinear"}, "apply_cutoff=False"),
        ({"edge_irreps": "4x0e+4x1o+4x2e"}, "go beyond hidden_irreps"),
        ({"zbl": "twice"}, "inside or outside; found 'twice'"),
        ({"default_head": "other"}, "distinct heads"),
    ],
)
def test_inconsistent_arguments(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SimkitError, match=message):
        check_mace({**MACE(**SMALL).architecture, **change})


def test_number_of_scales() -> None:
    with pytest.raises(SimkitError, match="one scale or one for each of 1 heads, found 2"):
        MACE(**SMALL, scale=(1.0, 2.0))


def training_errors(steps: int) -> list[float]:
    """Mean square errors of a model that learns the forces of harmonic bonds of ethanol."""
    torch.manual_seed(0)
    frames = []
    for _ in range(4):
        frame = molecule("CH3CH2OH")
        frame.positions += 0.1 * torch.randn(9, 3).numpy()
        frames.append(frame)
    systems = System.from_ase(frames)
    rest = System.from_ase([molecule("CH3CH2OH")] * 4).positions
    target = -2.0 * (systems.positions - rest)
    model = MACE(**SMALL)
    neighbours = build_neighbours(systems, model.cutoff)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    errors = []
    for _ in range(steps):
        predicted = evaluate(model, systems, neighbours, create_graph=True).forces
        assert predicted is not None
        error = (predicted - target).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    return errors


def test_training_on_forces_lowers_the_error() -> None:
    errors = training_errors(12)
    assert errors[-1] < 0.3 * errors[0]


def test_kernels_train_like_the_reference() -> None:
    pytest.importorskip("numba")
    with kernels("reference"):
        expected = training_errors(4)
    with kernels("numba"):
        assert training_errors(4) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("max_ell", "correlation"), [(2, 9), (3, 6), (50, 2), (2, 10**9), (-1, 2), (2, 0)])
def test_products_that_would_fill_the_memory_are_refused(max_ell: int, correlation: int) -> None:
    with pytest.raises(SimkitError, match=r"correlation|max_ell"):
        MACE(**{**SMALL, "max_ell": max_ell, "correlation": correlation})


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_memory_of_couplings_is_known_beforehand(order: int) -> None:
    tables = [full_couplings(1, order, degree) for degree in range(order + 1)]
    natural = sum(table.numel() for table in tables) * 8
    assert natural == coupling_bytes(1, order) if order >= 4 else 0 < natural <= coupling_bytes(1, order)
