"""What else one could use, each at its best documented settings, as workers of the benchmark."""
