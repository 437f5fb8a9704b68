"""The subjects of `steelyard doctor`: this machine, host keys, GPUs."""
