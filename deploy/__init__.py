"""The operators' command line, which scripts/build_and_deploy.sh starts.

``cli`` has the commands. ``rollout``, ``build``, ``create``, ``pipeline`` and ``credentials``
contain the workflows, step by step; below them is one module for each noun. AWS and other programs
are called only through ``aws`` and ``tools``, and every change goes through ``changes``.
"""
