"""AWS on loopback: moto where it suffices, and our own code for the other calls of the deploy tool, by service.

Each of our responses is validated against AWS's own shape (``answers``). Where moto differs from AWS, ``patches``
says how, and tests/rehearsal/test_moto.py fails once a patch is no longer needed.
"""
