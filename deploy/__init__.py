"""The operators' command line: what scripts/build_and_deploy.sh starts.

``cli`` has the commands. ``rollout``, ``build``, ``create``, ``pipeline`` and ``credentials`` tell
the stories, in the order of their steps; below them is one module for each noun. Everything outside
is reached through ``aws`` and ``tools``, and whatever changes something passes ``changes``.
"""
