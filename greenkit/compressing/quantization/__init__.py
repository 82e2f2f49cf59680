"""Quantization: fewer bits for each weight, and kernels that execute them."""
