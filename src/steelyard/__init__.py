"""steelyard: from bare GPU hosts to served, registered models."""

__version__ = "0.1.0"
