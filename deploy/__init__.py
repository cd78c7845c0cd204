"""The command line that builds, publishes and deploys; scripts/build_and_deploy.sh starts it.

Five layers, each of which imports only from itself and from those below it:

    commands    what people and the pipeline type, in cli, and what it does: create, status ...
    delivery    what ships a version: build, image, bundle, rollout, smoke, history, notify ...
    resources   one module for each kind of resource: beanstalk, stacks, bucket, lock ...
    config      what people configure: environments, owner, release window
    base        what everything stands on: errors, console, settings, aws, programs, context

A deployment from its first step to its last is delivery/rollout.py, on one screen.
"""
