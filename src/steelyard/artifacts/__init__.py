"""Things that hosts run and that come from elsewhere: the wheels of engines, resolved, collected, verified and brought
to the mirror.
"""
