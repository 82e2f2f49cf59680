"""Pruning: which weights or whole parts of a model can go, and how."""
