"""Knowledge of hardware and systems: GPU generations, health, XIDs, assignment; distributions; the floor of a
preflight.
"""
