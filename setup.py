"""Place the top-level folders below ``simkit``: potentials/ is imported as simkit.potentials."""

from setuptools import find_packages, setup

FOLDERS = ("potentials", "solvers", "datasets")
MAPPED = [name for folder in FOLDERS for name in (folder, f"{folder}.*")]

setup(
    packages=["simkit"]
    + [f"simkit.{name}" for name in find_packages("simkit", exclude=MAPPED)]
    + [f"simkit.{folder}" for folder in FOLDERS]
    + [f"simkit.{folder}.{name}" for folder in FOLDERS for name in find_packages(folder)],
    package_dir={f"simkit.{folder}": folder for folder in FOLDERS},
)
