"""Engines that can serve a model: what each is called, which options it knows, and what it can be asked for."""
