"""Reads CloudFormation templates, short forms of functions included."""

from pathlib import Path

import yaml


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags, which become the long form of what they mean."""


def _function(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    return {name: value}


Loader.add_multi_constructor("!", _function)


def load(path):
    """The template in the file ``path``."""
    return yaml.load(Path(path).read_text(), Loader)
