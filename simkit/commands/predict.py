"""``simkit predict``: energies, forces and stress of structures."""

from __future__ import annotations

from simkit.commands.options import (
    BatchAtoms,
    Device,
    Head,
    Model,
    Output,
    OwnDtype,
    Structures,
    model_options,
    require_inputs,
)


def predict(
    model: Model,
    source: Structures,
    output: Output,
    dtype: OwnDtype = None,
    device: Device = "auto",
    head: Head = None,
    batch_atoms: BatchAtoms = None,
) -> None:
    """Write the energies, forces and (periodic systems) stress of structures to an extended XYZ file."""
    from simkit.progress import Terminal
    from simkit.tasks.predict import predict_file

    require_inputs(model, source)
    predict_file(model, source, output, **model_options(device, dtype, head, batch_atoms), progress=Terminal())
    print(f"predictions: {output}")
