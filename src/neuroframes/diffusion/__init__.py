"""Diffusion over latents: exact Gaussian denoisers, noise levels, samplers, overlapping windows."""
