"""Comparing backbones with their ancestors: copies of known descent, and a table of figures."""
