"""Classical and learned solvers of partial differential equations."""

if __name__ != "simkit.solvers":
    raise ImportError("import this package as simkit.solvers")
