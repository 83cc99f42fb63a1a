"""Backbones: what runs them, what their files may hold, and heads on what they give."""
