"""What people do with potentials: label, predict, assess, relax, run dynamics. Paths in, files and a summary out."""
