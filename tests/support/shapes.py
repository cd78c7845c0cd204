"""What AWS's own models of its services say of requests and answers; botocore brings them along."""

import re

from botocore.validate import ParamValidator


def keep_to_shape(answer, shape):
    """Raises AssertionError if ``answer`` has keys that AWS's ``shape`` does not have, or lacks required ones."""
    if shape is None:
        assert not answer, answer
        return
    report = ParamValidator().validate(
        {key: value for key, value in answer.items() if not hasattr(value, "read")}, shape
    )
    assert not report.has_errors(), f"not as AWS answers: {report.generate_report()}"


def keep_to_limits(parameters, shape):
    """Raises AssertionError if AWS's ``shape`` does not allow ``parameters``, of which botocore looks at the types only.

    That is by enumerations, lengths, ranges and patterns.
    """
    wrong = list(_violations(parameters, shape, "")) if shape else []
    assert not wrong, f"not as AWS takes it: {'; '.join(wrong)}"


def _violations(value, shape, path):
    kind = shape.type_name
    if kind == "structure":
        for key in value.keys() & shape.members.keys():
            yield from _violations(value[key], shape.members[key], f"{path}.{key}")
        return
    if kind == "list":
        for one in value:
            yield from _violations(one, shape.member, f"{path}[]")
    elif kind == "map":
        for key, one in value.items():
            yield from _violations(key, shape.key, f"{path} key")
            yield from _violations(one, shape.value, f"{path}.{key}")
    yield from (f"{path[1:]} {value!r:.80}: {what}" for what in _of_limits(value, kind, shape))


def _of_limits(value, kind, shape):
    limits = shape.metadata
    if not limits or hasattr(value, "read"):
        return
    if "min" in limits or "max" in limits:
        size = value if isinstance(value, int | float) else len(value)
        if not limits.get("min", size) <= size <= limits.get("max", size):
            yield f"expected {limits.get('min', '')}..{limits.get('max', '')}"
    if kind == "string":
        if shape.enum and value not in shape.enum:
            yield f"expected one of {', '.join(shape.enum):.80}"
        if "pattern" in limits and not _compile(limits["pattern"]).fullmatch(value):
            yield f"expected {limits['pattern']}"


def _compile(pattern):
    """As AWS reads it, in Java: there, classes such as \\w have ASCII characters only. What Python cannot read fails."""
    assert not re.search(r"\\[pPQE]|\[:|&&", pattern), f"not a pattern for Python: {pattern}"
    return re.compile(pattern, re.ASCII)
