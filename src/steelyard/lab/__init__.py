"""The disposable fleet: real systemd machines on one Linux machine, in seconds, gone without a trace.

`spec` says what a lab consists of, `base_image` and `layers` make the shared read-only file systems, `network` and
`machine` build the commands, `fleet` runs them. Simulated parts (GPUs, Dify) are named as simulated wherever shown.
"""
