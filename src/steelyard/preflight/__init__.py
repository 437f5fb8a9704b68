"""Whether hosts are what they are declared to be, measured: schedule, floor and verdict. Pure; hosts are asked elsewhere."""
