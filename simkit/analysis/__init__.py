"""What simulations and potentials tell: structure, transport, spectra, elasticity, phonons, reaction paths."""
