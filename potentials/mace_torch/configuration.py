"""Constructor arguments of simkit's MACE from the description of a mace-torch model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simkit.errors import ModelFileError
from simkit.potentials.mace_torch.objects import Module, irreps, source_of

INTERACTIONS = {
    "RealAgnosticInteractionBlock": "agnostic",
    "RealAgnosticResidualInteractionBlock": "residual",
    "RealAgnosticDensityInteractionBlock": "density",
    "RealAgnosticDensityResidualInteractionBlock": "density_residual",
    "RealAgnosticResidualNonLinearInteractionBlock": "residual_nonlinear",
}
BASES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
TRANSFORMS = {"AgnesiTransform": "agnesi", "SoftTransform": "soft"}
ZBL = {"MACE": "outside", "ScaleShiftMACE": "inside"}
SUPPORTED = "Supported are MACE and ScaleShiftMACE models, which predict energies, in e3nn's layout"


def configuration(model: Module) -> dict[str, Any]:
    """Keyword arguments for :class:`simkit.potentials.mace.MACE`, without a default head.

    Raises:
        ModelFileError: the model uses something that simkit's MACE does not have; the message names it.
    """
    require_supported(model)
    interactions = model.child("interactions").children()
    products = model.child("products").children()
    radial = model.child("radial_embedding")
    layers = len(interactions)
    names = [_named(INTERACTIONS, block, "interaction block") for block in interactions]
    if layers < 1 or len(products) != layers or len(set(names[1:])) > 1:
        raise unsupported(f"{layers} interactions ({', '.join(names)}) and {len(products)} products")
    return {
        "elements": _elements(model),
        "cutoff": model.number("r_max"),
        "hidden_irreps": irreps(products[0].child("linear").attribute("irreps_out")),
        "max_ell": irreps(interactions[0].attribute("edge_attrs_irreps")).count("x") - 1,
        "correlation": [_correlation(product) for product in products],
        "layers": layers,
        "radial_basis": _named(BASES, radial.child("bessel_fn"), "radial basis"),
        "n_radial": int(radial.number("out_dim")),
        "envelope_power": int(radial.child("cutoff_fn").number("p")),
        "distance_transform": _named(TRANSFORMS, radial.child("distance_transform"), "distance transform")
        if radial.has("distance_transform")
        else None,
        "radial_mlp": _radial_mlp(interactions[0].child("conv_tp_weights")),
        "first_interaction": names[0],
        "interaction": names[-1],
        "average_neighbours": _same_for_all([block.number("avg_num_neighbors") for block in interactions]),
        "zbl": ZBL[model.class_name] if model.has("pair_repulsion_fn") else None,
        "apply_cutoff": bool(model.attribute("apply_cutoff", True)),
        "edge_irreps": irreps(model.attribute("edge_irreps")) if model.attribute("edge_irreps") is not None else None,
        "element_weights": not model.attribute("use_agnostic_product", False),
        **_heads(model),
        **_readout(model),
    }


def require_supported(model: Module) -> None:
    """Check what can be told from the model as a whole.

    Raises:
        ModelFileError: another class, an accelerated layout, or options that simkit's MACE does not have.
    """
    if not model.source.startswith("mace.") or model.class_name not in ZBL:
        raise unsupported(f"a model of the class {model.source}")
    for block in model.child("interactions").children():
        for name, tool in (("cueq_config", "mace_cueq_to_e3nn"), ("oeq_config", "python -m mace.cli.convert_oeq_e3nn")):
            accelerator = block.attribute(name)
            if accelerator is not None and getattr(accelerator, "state", {"enabled": True}).get("enabled", True):
                raise unsupported(f"the layout of an accelerator ({name})", f"Convert the model first with: {tool}")
    if model.has("joint_embedding"):
        inputs = ", ".join(model.attribute("embedding_specs", {}))
        raise unsupported(f"embeddings of further inputs ({inputs})")
    for name in ("use_so3", "use_last_readout_only", "use_edge_irreps_first"):
        if model.attribute(name, False):
            raise unsupported(f"the option {name}")


def unsupported(what: str, remedy: str = "Use it through mace-torch's own ASE calculator") -> ModelFileError:
    """An error that says what a file has that simkit's MACE has not."""
    return ModelFileError(f"this mace-torch model is not supported: it has {what}. {SUPPORTED}. {remedy}")


def _named(names: dict[str, str], module: Module, what: str) -> str:
    if module.class_name not in names:
        raise unsupported(f"the {what} {module.class_name}")
    return names[module.class_name]


def _elements(model: Module) -> list[int]:
    elements = model.tensor("atomic_numbers").tolist()
    if not elements or elements != sorted(set(elements)) or not 1 <= elements[0] <= elements[-1] <= 118:
        raise ModelFileError(f"expected the atomic numbers of the model in ascending order, found {elements!r:.200}")
    return elements


def _correlation(product: Module) -> int:
    contractions = product.child("symmetric_contractions")
    if not contractions.has("contractions"):
        remedy = "Convert the model first with: mace_cueq_to_e3nn"
        raise unsupported("symmetric contractions in the layout of cuEquivariance", remedy)
    return len(contractions.child("contractions", "0", "weights").state["_parameters"]) + 1


def _radial_mlp(network: Module) -> list[int]:
    """Widths of the hidden layers: e3nn's weights are (in, out), PyTorch's (out, in)."""
    if network.class_name == "RadialMLP":
        layers = [layer for layer in network.child("net").children() if layer.class_name == "Linear"]
        return [layer.tensor("weight").shape[0] for layer in layers[:-1]]
    if network.class_name == "FullyConnectedNet":
        return [layer.tensor("weight").shape[1] for layer in network.children()[:-1]]
    raise unsupported(f"radial networks of the class {network.class_name}")


def _same_for_all(values: list[float]) -> float:
    if len(set(values)) > 1:
        raise unsupported(f"different average numbers of neighbours in its layers ({values})")
    return float(values[0])


def _heads(model: Module) -> dict[str, Any]:
    heads = model.attribute("heads") or ["Default"]
    if not all(isinstance(head, str) for head in heads):
        raise ModelFileError(f"expected the heads of the model as names, found {heads!r:.200}")
    energies = torch.atleast_2d(model.child("atomic_energies_fn").tensor("atomic_energies"))
    numbers: dict[str, Any] = {"scale": [1.0] * len(heads), "shift": [0.0] * len(heads)}
    if model.has("scale_shift"):
        for name in numbers:
            numbers[name] = _per_head(model.child("scale_shift").tensor(name), len(heads))
    return {"heads": list(heads), "reference_energies": energies.double().tolist(), **numbers}


def _per_head(value: Tensor, heads: int) -> list[float]:
    return value.double().reshape(-1).expand(heads).tolist() if value.numel() == 1 else value.double().tolist()


def _readout(model: Module) -> dict[str, Any]:
    *linear, last = model.child("readouts").children()
    if len(linear) + 1 > 1 and last.class_name != "NonLinearReadoutBlock":
        raise unsupported(f"the readout {last.class_name}")
    for readout in linear or [last]:
        if readout.class_name != "LinearReadoutBlock":
            raise unsupported(f"the readout {readout.class_name}")
    if not linear:
        return {}
    gate = last.child("non_linearity", "acts", "0").attribute("f")
    heads = len(model.attribute("heads") or ["Default"])
    width = last.child("linear_2").tensor("weight").numel() // heads
    return {"gate": source_of(gate).rpartition(".")[2], "readout_mlp": f"{width // heads}x0e"}
