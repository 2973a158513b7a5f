"""PaiNN: the battery, the published equations written plainly, and the count of parameters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate, hessian_vector_product
from simkit.graph import Graph, make_graph
from simkit.neighbours import build_neighbours
from simkit.potentials.painn import PaiNN
from simkit.system import concatenate
from tests.conformance import systems
from tests.conformance.battery import Battery

SMALL = {"channels": 8, "layers": 2, "n_radial": 5, "cutoff": 4.0}


def with_biases(model: PaiNN) -> PaiNN:
    """Biases are zero at first, which would hide what they do at the cutoff."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.uniform_(parameter, -0.2, 0.2)
    return model


class TestPaiNN(Battery):
    def potential(self) -> PaiNN:
        references = [[-0.5, -3.0, -2.0]]
        model = PaiNN([1, 6, 8], **SMALL, average_neighbours=9.0, reference_energies=references, scale=1.7, shift=-0.3)
        return with_biases(model)


class TestPaiNNAsPublished(Battery):
    """The cosine cutoff and plain sums of the paper; its second derivative jumps at the cutoff."""

    difference_tolerance = 1e-4

    def potential(self) -> PaiNN:
        return with_biases(PaiNN([1, 6, 8], **SMALL, envelope="cosine"))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def affine(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", torch.tensor(0.0))


def plain_energies(model: PaiNN, graph: Graph) -> Tensor:
    """The equations of arXiv:2102.03150, atom by atom and edge by edge."""
    w, count = dict(model.state_dict()), graph.system.n_atoms
    elements = list(model.capabilities.elements)
    s = [w["embedding.weight"][elements.index(int(z))] for z in graph.system.numbers]
    v = [torch.zeros(3, model.channels) for _ in range(count)]
    for layer in range(len(model.messages)):
        ds, dv = [torch.zeros_like(x) for x in s], [torch.zeros_like(x) for x in v]
        for i, j, vector in zip(graph.centre.tolist(), graph.neighbour.tolist(), graph.vectors, strict=True):
            r = vector.norm()
            bessel = [math.sqrt(2 / model.cutoff) * torch.sin(n * math.pi * r / model.cutoff) / r for n in range(1, 6)]
            cut = 0.5 * (torch.cos(math.pi * r / model.cutoff) + 1)
            filters = affine(w, f"messages.{layer}.filter", torch.stack(bessel)) * cut / 3.0
            phi = affine(w, f"messages.{layer}.scalar.2", silu(affine(w, f"messages.{layer}.scalar.0", s[j])))
            to_s, along_r, along_v = torch.split(phi * filters, model.channels)
            ds[i] = ds[i] + to_s
            dv[i] = dv[i] + torch.outer(vector / r, along_r) + v[j] * along_v
        s, v = [a + b for a, b in zip(s, ds, strict=True)], [a + b for a, b in zip(v, dv, strict=True)]
        for i in range(count):
            u_v = v[i] @ w[f"updates.{layer}.mix_u.weight"].T
            v_v = v[i] @ w[f"updates.{layer}.mix_v.weight"].T
            gate = silu(affine(w, f"updates.{layer}.gates.0", torch.cat([s[i], (v_v**2).sum(0).sqrt()])))
            a_ss, a_sv, a_vv = torch.split(affine(w, f"updates.{layer}.gates.2", gate), model.channels)
            s[i], v[i] = s[i] + a_ss + a_sv * (u_v * v_v).sum(0), v[i] + a_vv * u_v
    return torch.cat([affine(w, "readout.2", silu(affine(w, "readout.0", x))) for x in s])


def test_equations() -> None:
    model = with_biases(PaiNN([1, 6, 8], **SMALL, average_neighbours=9.0, envelope="cosine"))
    for system in (systems.molecule([1, 6, 8], 1.5), systems.crystal([8, 1], 2.0)):
        graph = make_graph(system, build_neighbours(system, model.cutoff))
        # eps = 1e-8 Å² in the norm of the model is what remains
        torch.testing.assert_close(model(graph).energies, plain_energies(model, graph), rtol=0, atol=1e-6)


def test_number_of_parameters_of_the_published_model() -> None:
    """128 channels, 3 layers, 20 radial functions, the five elements of QM9."""
    f, n = 128, 20
    perceptron = (f * f + f) + (f * 3 * f + 3 * f)
    message = perceptron + n * 3 * f + 3 * f
    update = 2 * f * f + f * f + perceptron
    readout = f * f // 2 + f // 2 + f // 2 + 1
    total = sum(parameter.numel() for parameter in PaiNN([1, 6, 7, 8, 9]).parameters())
    assert total == 3 * (message + update) + 5 * f + readout == 576_897


@pytest.mark.parametrize(("envelope", "continuous"), [("polynomial", True), ("cosine", False)])
def test_hessian_at_the_cutoff(envelope: Literal["polynomial", "cosine"], continuous: bool) -> None:
    """Only the polynomial envelope has a second derivative that vanishes at the cutoff."""
    model = with_biases(PaiNN([6], **SMALL, envelope=envelope))
    pair = systems.dimers((6, 6), torch.tensor([model.cutoff * (1 - 1e-5)]))
    along = pair.positions / model.cutoff
    neighbours = build_neighbours(pair, model.cutoff)
    product = hessian_vector_product(model, pair, neighbours, along)
    near = systems.dimers((6, 6), torch.tensor([0.7 * model.cutoff]))
    scale = hessian_vector_product(model, near, build_neighbours(near, model.cutoff), along).norm()
    assert bool(product.norm() < 1e-3 * scale) is continuous


def test_heads_select_reference_energies_and_readouts() -> None:
    model = PaiNN([6, 8], **SMALL, reference_energies=[[-1.0, -2.0], [-10.0, -20.0]])
    molecule = systems.molecule([6, 8], 1.6)
    first, second = (molecule.__class__(**{**vars(molecule), "head": torch.tensor([h])}) for h in (0, 1))
    joint = evaluate(model, concatenate([first, second, molecule]), outputs=("energy",)).energy
    assert float(joint[0]) == pytest.approx(float(joint[2]), abs=1e-12)
    rows = model.readout[2].weight.data
    rows[1] = rows[0]
    equal_readouts = evaluate(model, concatenate([first, second]), outputs=("energy",)).energy
    assert float(equal_readouts[1] - equal_readouts[0]) == pytest.approx(4 * -9.0 + 3 * -18.0, abs=1e-9)


def test_scale_and_shift_stay_exact_through_float32() -> None:
    model = PaiNN([1, 6, 8], **SMALL, scale=0.1, shift=-1 / 3)
    system = systems.molecule([1, 6, 8], 1.5)
    rounded = model.float().double()
    assert rounded.config()["scale"] == [0.1]
    assert rounded.config()["shift"] == [-1 / 3]
    energies = evaluate(rounded, system, outputs=("energies",)).energies
    with torch.no_grad():
        for parameter in model.readout[2].parameters():
            parameter.zero_()
    shifted = evaluate(model, system, outputs=("energies",)).energies
    assert energies is not None
    assert shifted is not None
    assert not torch.allclose(energies, shifted)
    assert shifted.tolist() == [-1 / 3] * system.n_atoms


def test_every_head_has_its_scale_and_shift() -> None:
    several = PaiNN([6, 8], **SMALL, reference_energies=[[0.0, 0.0]] * 2, scale=(1.0, 2.0), shift=(0.0, 0.5))
    rows = several.readout[2]
    rows.weight.data[1], rows.bias.data[1] = rows.weight.data[0], rows.bias.data[0]
    molecule = systems.molecule([6, 8], 1.6)
    first, second = (replace(molecule, head=torch.tensor([h])) for h in (0, 1))
    one, two = evaluate(several, concatenate([first, second]), outputs=("energy",)).energy.tolist()
    assert two == pytest.approx(2 * one + 0.5 * molecule.n_atoms, abs=1e-12)
    with pytest.raises(SimkitError, match="one scale or one for each of 1 heads"):
        PaiNN([6, 8], **SMALL, scale=(1.0, 2.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 7}, "even number of channels"),
        ({"layers": 0}, "positive"),
        ({"average_neighbours": 0.0}, "positive"),
        ({"reference_energies": [[0.0]]}, "2 reference energies for each head"),
        ({"reference_energies": []}, "no head"),
    ],
)
def test_refused_arguments(wrong: dict, message: str) -> None:
    with pytest.raises(SimkitError, match=message):
        PaiNN([6, 8], **{**SMALL, **wrong})


def test_no_elements() -> None:
    with pytest.raises(SimkitError, match="at least one element"):
        PaiNN([])
