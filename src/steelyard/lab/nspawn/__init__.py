"""Lab hosts: real systemd machines in containers of systemd-nspawn, with a network of their own."""
