"""The commands of `steelyard dify`."""
