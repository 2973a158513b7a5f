"""Labelled structures: readers, writers, splits, statistics and checks."""

if __name__ != "simkit.datasets":
    raise ImportError("import this package as simkit.datasets")
