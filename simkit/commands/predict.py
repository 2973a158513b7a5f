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
from simkit.tasks.settings import BATCH_ATOMS


def predict(
    model: Model,
    source: Structures,
    output: Output,
    dtype: OwnDtype = None,
    device: Device = "auto",
    head: Head = None,
    batch_atoms: BatchAtoms = BATCH_ATOMS,
) -> None:
    """Write the energies, forces and (periodic systems) stress of structures to an extended XYZ file."""
    from simkit.progress import Terminal
    from simkit.tasks.predict import predict_file

    require_inputs(model, source)
    options = model_options(device, dtype, head)
    predict_file(model, source, output, batch_atoms=batch_atoms, **options, progress=Terminal())
    print(f"predictions: {output}")
