"""The physics of the catalogue: numpy, scipy, pymatgen and ASE only, no AiiDA."""
