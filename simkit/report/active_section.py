"""The part of a report on active learning."""

from __future__ import annotations

from simkit.report import page
from simkit.report.figures import BLUE, VERMILLION, Figure, as_svg, canvas
from simkit.report.results import Result

NAMES = {
    "round": "Round",
    "training_frames": "Training frames",
    "fresh_frames": "Fresh frames",
    "chosen_frames": "Chosen frames",
    "walkers_stopped": "Walkers stopped",
    "fresh_forces_rmse_mev_per_ang": "Forces, fresh frames, RMSE (meV/Å)",
    "fresh_forces_z_rms": "Error / predicted deviation",
    "test_forces_rmse_mev_per_ang": "Forces, test frames, RMSE (meV/Å)",
}
"""Columns of the table, of those that there are."""


def active_section(result: Result) -> str:
    """The rounds, and how the errors fell."""
    summary = result.summary
    rows = summary["rounds"]
    target = summary["target_forces_rmse_mev_per_ang"]
    goal = "" if target is None else f" The target was {page.digits(target)} meV/Å on fresh frames."
    text = (
        f"{summary['status'].capitalize()} after {len(rows)} trainings with {summary['labels']} labelled frames "
        f"({summary['method']}).{goal} Fresh frames come from dynamics with the committee of the round, which has not "
        "seen them; nobody chose them."
    )
    shown = {name: heading for name, heading in NAMES.items() if any(name in row for row in rows)}
    table = page.table(tuple(shown.values()), [[row.get(name) for name in shown] for row in rows])
    figures = page.figures([_errors(rows, target)]) if len(rows) > 1 else ""
    return page.section(f"Active learning: {result.name}", page.paragraph(text), figures, table)


def _errors(rows: list[dict], target: float | None) -> Figure:
    """Errors of the forces against the number of training frames."""
    with canvas() as (figure, axes):
        frames = [row["training_frames"] for row in rows]
        for name, label, colour in (("fresh", "fresh frames", BLUE), ("test", "test frames", VERMILLION)):
            key = f"{name}_forces_rmse_mev_per_ang"
            if all(key in row for row in rows):
                axes.plot(frames, [row[key] for row in rows], "o-", color=colour, label=label, markersize=4)
        if target is not None:
            axes.axhline(target, color="black", linestyle="--", linewidth=1, label="target")
        axes.set_xlabel("training frames")
        axes.set_ylabel("RMSE of the forces (meV/Å)")
        axes.set_ylim(bottom=0)
        axes.legend()
        svg = as_svg(figure)
    return Figure(svg, "Errors of the forces, round after round.", "Errors of the forces against training frames.")
