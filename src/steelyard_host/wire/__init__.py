"""Values that go between controller and hosts, and onto a host's disk, declared once for both sides.

The helper of one release talks with controllers of others: keys and their values never change their meaning, and what
is added has a default. The modules here load nothing of the helper, so the controller imports them as they are.
"""
