"""The commands of `steelyard models`."""
