"""Answers to a TAB in bash, zsh and fish. No module here imports the parser, a command, or whatever else takes time."""
