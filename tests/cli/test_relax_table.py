"""What ``simkit relax`` prints of many structures."""

from __future__ import annotations

from pathlib import Path

from simkit.commands.relax import _print_results, _print_sums
from simkit.commands.tables import SHOWN


def result(index, status):
    one = {"frame": f"frame {index:03}", "status": status, "steps": 10 + index, "fmax_ev_per_ang": 0.004}
    one |= {"energy_before_ev": -1.0, "energy_ev": -1.5}
    return one if status == "converged" else one | {"remedy": "raise max_steps"}


def printed(capsys, statuses):
    results = [result(index, status) for index, status in enumerate(statuses)]
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    _print_results(results, Path("out.xyz"))
    _print_sums({"frames": len(results), "statuses": counts, "force_calls": 777, "results": results})
    return capsys.readouterr().out


def test_few_structures_have_a_line_each(capsys):
    text = printed(capsys, ["converged"] * SHOWN)
    assert text.count("frame ") == SHOWN
    assert "more structures" not in text


def test_of_many_structures_those_that_failed_are_shown_in_order(capsys):
    statuses = ["converged"] * 1000
    statuses[500] = statuses[900] = "not converged"
    text = printed(capsys, statuses)
    assert [line.split()[1] for line in text.splitlines() if line.lstrip().startswith("frame ")] == [
        *(f"{index:03}" for index in range(SHOWN - 2)), "500", "900",
    ]  # fmt: skip
    assert f"and {1000 - SHOWN} more structures in out.json" in text
    assert "1000 structures: 998 converged, 2 not converged; steps: median 508.5, most 1009; 777 force calls" in text
