"""The meaning of a look at a fleet: findings, less what is excepted, with when each was first seen."""
