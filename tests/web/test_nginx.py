"""What nginx repeats of the application, because it answers and logs without it."""

import re
from pathlib import Path

import pytest

from web import errors

CONFIGURATION = Path(".platform/nginx/nginx.conf").read_text()


def read_map(name):
    """The lines of a map, in their order: patterns and values."""
    text = re.search(rf"map \$\w+ \${name} {{(.*?)\n    }}", CONFIGURATION, re.DOTALL)[1]
    lines = re.findall(r'^ +(\S+) +"?(.*?)"?;$', text, re.MULTILINE)
    return {pattern: value for pattern, value in lines if pattern != "default"}


def test_nginx_logs_the_route_of_every_path(app):
    """By a list, because no part of an unknown path is safe to log: any may be somebody's name."""
    routes = read_map("route")
    for rule in app.url_map.iter_rules():
        path = re.sub("<.*?>", "Rumpelstiltskin", rule.rule)
        known = [route for pattern, route in routes.items() if re.search(pattern[1:], path)]
        add = f'add a line such as  ~^{rule.rule.partition("<")[0]}  "{rule.rule}";  to map $route'
        assert known, f'.platform/nginx/nginx.conf logs {rule.rule} as "other": {add}'
        assert rule.rule == known[0] or rule.rule.startswith(f"{known[0]}/"), add


def test_nginx_logs_nothing_of_a_path():
    for pattern, route in read_map("route").items():
        assert pattern.startswith("~^/")
        assert "$" not in route


@pytest.mark.parametrize("status", errors.DETAILS)
def test_nginx_answers_an_error_as_the_application_does(status):
    assert read_map("detail")[str(status)] == errors.DETAILS[status]
