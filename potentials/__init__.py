"""Interatomic potentials and their composition."""

if __name__ != "simkit.potentials":
    raise ImportError("import this package as simkit.potentials")
