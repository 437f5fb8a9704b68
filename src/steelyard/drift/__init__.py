"""What a look at a fleet means: findings, less what is excepted, with when each was first seen."""
