"""The hardware of this machine: GPUs, their partitions, links, memory, disks."""
