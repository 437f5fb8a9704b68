"""The helper that runs on hosts: standard library only, shipped as one zipapp with pynvml beside it."""
