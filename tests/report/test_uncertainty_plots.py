"""Plots of uncertainties say what the metrics say, and can be drawn for any data that can be judged."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from simkit.report.figures import Figure
from simkit.report.uncertainty_plots import errors_over_deviations, reliability, sparsification
from simkit.uncertainty import metrics
from simkit.uncertainty.intervals import StudentT
from simkit.uncertainty.residuals import Residuals

pytest.importorskip("matplotlib")


def domain(rows: int, wrong: float = 1.0, spread: float = 0.5) -> Residuals:
    random = np.random.default_rng(rows)
    sigmas = 0.05 * np.exp(spread * random.standard_normal(rows))
    return Residuals.of(wrong * sigmas[:, None] * random.standard_normal((rows, 3)), sigmas, vectors=True)


def texts(figure: Figure) -> str:
    """What is written in the picture: every glyph group of the SVG carries its text as a comment."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.fromstring(figure.content, parser)
    return " ".join(str(node.text).strip() for node in root.iter() if node.tag is ElementTree.Comment)


def test_captions_tell_coverage_and_calibration() -> None:
    domains = {"300 K": domain(600), "900 K": domain(500, wrong=2.0)}
    figure = reliability(domains, "forces")
    for name, residuals in domains.items():
        assert f"{name}: {100 * metrics.coverage(residuals, 0.9):.0f} % within" in figure.caption
        assert f"{metrics.miscalibration_area(residuals):.3f}" in figure.caption
        assert name in texts(figure)
    over = errors_over_deviations(domains, "forces", "meV/Å", 1e3)
    assert f"900 K: errors are {metrics.z_std(domains['900 K']):.2f} times" in over.caption
    assert "error (meV/Å)" in texts(over)
    assert "at random" in texts(sparsification(domains, "forces"))


def test_students_intervals_change_the_reliability() -> None:
    residuals = domain(400, wrong=1.3)
    rule = StudentT(3, 1.1)
    covered = metrics.coverage(residuals, 0.9, rule.dof, rule.widening)
    assert f"{100 * covered:.0f} % within" in reliability({"test": residuals}, "forces", rule).caption
    assert (
        reliability({"test": residuals}, "forces", rule).content != reliability({"test": residuals}, "forces").content
    )


def test_one_domain_has_no_legend_and_baselines_have_one() -> None:
    residuals = domain(300)
    assert "test" not in texts(sparsification({"test": residuals}, "forces"))
    free = {"size of the force": residuals.with_sigmas(residuals.sigmas[::-1])}
    assert "size of the force" in texts(sparsification({"test": residuals}, "forces", free))


@pytest.mark.parametrize(
    "residuals",
    [domain(3), domain(7), domain(200, spread=0.0), Residuals.of(np.r_[np.zeros(50), 1.0], 0.1)],
    ids=["three rows", "seven rows", "constant", "mostly zero errors"],
)
def test_unusual_data_can_be_drawn(residuals: Residuals) -> None:
    for figure in (
        reliability({"test": residuals}, "energy"),
        errors_over_deviations({"test": residuals}, "energy", "meV/atom", 1e3),
        sparsification({"test": residuals}, "energy"),
    ):
        assert b"<svg" in figure.content
        assert figure.description
