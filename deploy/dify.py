"""Registration of the declared models in Dify."""

from steelyard.roles.dify import dify, withdrawn

withdrawn()
dify()
