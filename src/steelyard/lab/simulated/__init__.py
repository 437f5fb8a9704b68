"""Simulated parts of the lab, named so: GPUs, NVIDIA's packages, slow links, a tiny model, Dify's double."""
