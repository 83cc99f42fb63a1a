"""A plan opened and tried: bench, trial, passes."""
