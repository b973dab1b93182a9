"""Second derivatives as linear operators: products, eigenvalues, traces, solutions, spectra."""
