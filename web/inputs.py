"""The framework of what operations read, for the schemas of the resources."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NoReturn

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validates_schema

JSON_RULE = "Send a JSON object such as {example}."
TWICE = "Send it once."
TEXT_RULE = "Use text without U+0000 and without lone surrogates."

# What PostgreSQL cannot store, as JSON has it
_UNSTORABLE = re.compile(r"(?<!\\)(\\\\)*\\u0000|[\ud800-\udfff]")


class Parsed(fields.String):
    """A field with the values that ``parse`` returns or refuses, whatever their type.

    A query parameter with one of the names in ``also`` is taken for a misspelt one.
    """

    def __init__(self, parse: Callable[[object], Any], *also: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._parse, self.also = parse, also

    def _deserialize(self, value: object, *args: Any, **kwargs: Any) -> Any:
        return self._parse(value)


class Lenient(Schema):
    """The base of all request schemas: unknown keys are ignored, and texts can be stored."""

    class Meta:
        unknown = EXCLUDE

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keys = {field.data_key or name: field for name, field in self.fields.items()}
        self._texts = [key for key, field in self.keys.items() if not isinstance(field, Parsed)]

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _require_storable(self, data: object, given: Mapping[str, Any], **kwargs: Any) -> None:
        texts = {key: json.dumps(given.get(key), ensure_ascii=False) for key in self._texts}
        wrong = {key: [TEXT_RULE] for key, text in texts.items() if _UNSTORABLE.search(text)}
        if wrong:
            raise ValidationError(wrong)


class Body(Lenient):
    """The base of the schemas of bodies, with a valid one as ``example``.

    Without a body, ``or_query`` is read from the query string.
    """

    example: Mapping[str, Any] = {}
    or_query: frozenset[str] = frozenset()


class Inputs(Lenient):
    """The base of what operations read from the path, by ``in_path``, and the query string.

    One that also reads a body inherits from its Body, too; ``body`` has that schema, or None.
    """

    in_path: frozenset[str] = frozenset()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        ours = type(self).__mro__
        kinds = [one for one in ours if issubclass(one, Body) and not issubclass(one, Inputs)]
        self.body = kinds[0]() if kinds else None
        elsewhere = set(self.body.keys) - self.body.or_query if self.body else set()
        self.query = self.keys.keys() - self.in_path - elsewhere
        self._spellings = {
            _plain(word): name
            for name in self.query
            for word in (name, *getattr(self.keys[name], "also", ()))
        }

    def find_misspelt(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Messages about those of ``names`` that are nearly the name of a query parameter.

        Only the first 20 unknown ones are compared, which costs CPU.
        """
        found = {}
        for name in islice((name for name in names if name not in self.keys), 20):
            # One letter in eight may differ
            for near in difflib.get_close_matches(_plain(name), self._spellings, 1, 0.87):
                found[name] = [f"Did you mean {self._spellings[near]}?"]
        return found


def parse_object(body: bytes, expected: Body) -> dict[str, Any]:
    """The keys of ``expected`` in ``body``: a JSON object (RFC 8259), in UTF-8, of finite numbers.

    A byte-order mark at the start is ignored. Raises ValidationError for a key that is given twice
    and, showing an example, for anything else, including nesting too deep for the parser.
    """
    try:
        value = json.loads(
            body.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_Object
        )
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, _Object):
        raise ValidationError(JSON_RULE.format(example=json.dumps(expected.example)), "body")
    if twice := value.twice & expected.keys.keys():
        raise ValidationError({key: [TWICE] for key in twice})
    return {key: value[key] for key in expected.keys if key in value}


class _Object(dict[str, Any]):
    """A JSON object, and the keys that it was given more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        times = Counter(name for name, _ in pairs)
        self.twice = {name for name in self if times[name] > 1}


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
