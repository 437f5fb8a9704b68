"""systemd, files and time limits: what every other room builds on."""
