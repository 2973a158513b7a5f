"""The part of a report on the training of an ensemble."""

from __future__ import annotations

import numpy as np

from simkit.csv_tables import read_table
from simkit.report import page, plots
from simkit.report.figures import Figure
from simkit.report.results import Result

QUANTITIES = (
    ("forces_mae_mev_per_ang", "MAE of the forces (meV/Å)"),
    ("energy_mae_mev_per_atom", "MAE of the energy (meV/atom)"),
)


def ensemble_section(result: Result) -> str:
    """Validation errors of the members over the epochs, and the errors of their mean beside their own."""
    summary, settings = result.summary, result.record["settings"]["ensemble"]
    members = summary["members"]
    how = "together, on the same batches" if settings["together"] else "apart"
    frames = {"weights": "all frames", "folds": "all folds of the frames but one", "bootstrap": "a bootstrap sample"}
    text = (
        f"{settings['members']} members with other initial weights, trained {how}, each on {frames[settings['vary']]}. "
        "Their mean predicts, their spread is the uncertainty, not calibrated yet."
    )
    rows = [
        [name, *(one.get(f"validation_{quantity}") for quantity, _ in QUANTITIES)]
        for name, one in [("mean of the members", summary), *((f"member {i}", one) for i, one in enumerate(members))]
    ]
    columns = ("On validation frames", *(label for _, label in QUANTITIES))
    return page.section(
        f"Training of an ensemble: {result.name}",
        page.paragraph(text),
        page.figures(_curves(result)),
        page.table(columns, rows if not settings["together"] else rows[:1]),
    )


def _curves(result: Result) -> list[Figure]:
    """One figure for each quantity, of all members that were trained apart."""
    logs = {path.parent.name.replace("-", " "): read_table(path) for path in sorted(result.folder.glob("*/log.csv"))}
    found = []
    for quantity, label in QUANTITIES:
        column = f"validation_{quantity}"
        curves = {name: (log["epoch"], log[column]) for name, log in logs.items() if column in log}
        if any(np.isfinite(values).any() for _, values in curves.values()):
            found.append(plots.several_curves(curves, label))
    return found
