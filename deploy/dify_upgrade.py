"""The declared release of Dify, laid beside the one that runs; `steelyard dify upgrade` goes on from there."""

from steelyard.roles.dify import staged

staged()
