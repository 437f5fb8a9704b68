"""Interrupts: SIGINT, SIGTERM and SIGHUP in every command, and who comes to an end in order because of one."""
