"""AWS on loopback: moto for what it knows, and the rest of what the deploy tool asks, by service.

Each answer of ours passes AWS's own shape of it (``answers``). Where moto falls short of AWS, ``patches``
says in what, and tests/rehearsal/test_moto.py fails once a patch is not needed any more.
"""
