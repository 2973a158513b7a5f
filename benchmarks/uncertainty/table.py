"""Table of the methods that a workflow of this folder has calibrated, for each test domain.

    python benchmarks/uncertainty/table.py RUNS

RUNS is the folder with the results of the steps, such as ``runs/cluster``. Printed are, for force vectors, the error,
the score that matters most (CRPS), the ranking (Spearman's coefficient with that of a perfect σ, AUROC of the largest
5 %), and the size of errors in units of σ; and α.
"""

import argparse
import json
from pathlib import Path

COLUMNS = ("rmse", "crps", "spearman", "auroc", "z_std", "coverage_90")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    paths = {path.resolve() for path in parser.parse_args().runs.glob("*/calibration.json")}
    found = [json.loads(path.read_text()) for path in sorted(paths)]
    print("| domain | method | α | " + " | ".join(COLUMNS) + " | ceiling of spearman |")
    print("|---" * (len(COLUMNS) + 4) + "|")
    rows = []
    for one in found:
        alpha = one["map"].get("alpha")
        for line in one["assessments"]:
            if line["target"] == "force-vectors":
                rows.append((line["domain"], line, one["method"], alpha))
    for domain, line, method, alpha in sorted(rows, key=lambda row: [row[0], row[2], row[1]["method"]]):
        own = line["method"] == "model"
        name = method if own else f"{line['method']} (errors of {method})"
        numbers = [f"{value:.3g}" if value is not None else "" for value in (line["values"].get(c) for c in COLUMNS)]
        ceiling = line["spearman_ceiling"]
        cells = [domain, name, f"{alpha:.3g}" if own and alpha else "", *numbers, f"{ceiling:.2f}" if ceiling else ""]
        print("| " + " | ".join(cells) + " |")
    for one in found:
        print(one["method"], "frames told from the first domain (AUROC):", one["told_from_first_domain_auroc"])


if __name__ == "__main__":
    main()
