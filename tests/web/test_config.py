import hashlib
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import make_url

from web import config

URL = {"DATABASE_URL": "postgresql://me:secret@db.example.com/app"}
RDS = {"RDS_HOSTNAME": "db.example.com", "RDS_USERNAME": "me", "RDS_PASSWORD": "secret"}


def load_url(env):
    return config.load(env)["SQLALCHEMY_DATABASE_URI"]


def test_the_defaults_are_used():
    loaded = config.load(URL)
    assert loaded["TIME_ZONE"] == ZoneInfo("UTC")
    assert loaded["SERVER"] == {"host": "127.0.0.1", "port": 8000, "workers": 2, "threads": 4}


def test_an_empty_variable_counts_as_unset():
    assert config.load(URL | {"TIME_ZONE": "", "PORT": ""}) == config.load(URL)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_the_driver_is_psycopg2(scheme):
    assert (
        load_url({"DATABASE_URL": f"{scheme}://me@host/name"}).drivername == "postgresql+psycopg2"
    )


def test_the_url_is_built_from_the_variables_of_rds():
    assert load_url(RDS) == make_url("postgresql+psycopg2://me:secret@db.example.com:5432/ebdb")
    more = RDS | {"RDS_PORT": "5433", "RDS_DB_NAME": "other"}
    assert load_url(more) == make_url("postgresql+psycopg2://me:secret@db.example.com:5433/other")


@pytest.mark.parametrize("password", ["p@ss/w:rd%", "%41", "a b", "ü#?&=", "'\"\\"])
def test_passwords_need_no_escaping_in_parts(password):
    url = load_url(RDS | {"RDS_PASSWORD": password})
    assert url.password == password
    assert make_url(url.render_as_string(hide_password=False)).password == password


def test_the_url_wins_over_the_parts():
    assert load_url(URL | {"RDS_HOSTNAME": "other.example.com"}).host == "db.example.com"


def test_tls(tmp_path):
    authority = tmp_path / "authority.pem"
    authority.touch()
    verified = {"DATABASE_TLS": "verify-full", "DATABASE_CA_FILE": str(authority)}
    assert load_url(URL | verified).query == {
        "sslmode": "verify-full",
        "sslrootcert": str(authority),
    }
    in_url = {"DATABASE_URL": "postgresql://me@host/name?sslmode=require"}
    assert load_url(in_url).query == {"sslmode": "require"}
    assert load_url(in_url | verified).query["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://me:secret@host/name"),
        ("DATABASE_URL", "secret"),
        ("DATABASE_URL", "postgresql://me:secret@host"),
        ("DATABASE_URL", "postgresql://me:secret@host:x/y"),
        ("RDS_PORT", "0"),
        ("RDS_PORT", "65536"),
        ("DATABASE_TLS", "yes"),
        ("DATABASE_CA_FILE", "/nowhere"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../etc/passwd"),
        ("TIME_ZONE", "/etc/passwd"),
        ("LOG_LEVEL", "info"),
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "٨٠"),
        ("WORKERS", "0"),
        ("WORKERS", "1.5"),
        ("THREADS", "65"),
        ("THREADS", "1"),
        ("HOST", "localhost"),
        ("HOST", "0.0.0.0.0"),
        ("HOST", "*"),
        ("API_KEYS", "a-key"),
        ("API_KEYS", "0" * 63),
        ("API_KEYS", ","),
        ("API_KEYS", " , ,"),
        ("API_KEYS", "g" * 64),
        ("APP_VERSION", "1\n2"),
        ("RDS_PASSWORD", "a\x00b"),
        ("RDS_NEXT_PASSWORD", "a\x7fb"),
        ("RDS_HOSTNAME", "a\tb"),
        ("APP_VERSION", "\udcff"),
        ("DATABASE_URL", "postgresql://me:secret@host/name?nonsense=1"),
    ],
)
def test_an_invalid_value_is_refused_in_one_line(name, value):
    with pytest.raises(config.ConfigError) as refused:
        config.load(URL | {name: value})
    message = refused.value.message
    assert message.startswith(f"Invalid {name}")
    assert "expected" in message
    assert "\n" not in message
    assert "secret" not in message


@pytest.mark.parametrize("around", ["{}\n", " {}", "{}\r\n", "\t{} "])
def test_blanks_and_line_breaks_around_a_value_are_ignored(around):
    plain = RDS | {
        "TIME_ZONE": "Europe/Berlin",
        "PORT": "80",
        "HOST": "::1",
        "API_KEYS": "0" * 64,
        "LOG_LEVEL": "INFO",
        "RDS_NEXT_PASSWORD": "old-one",
        "APP_VERSION": "1",
    }
    assert config.load(
        {name: around.format(value) for name, value in plain.items()}
    ) == config.load(plain)
    url = around.format(URL["DATABASE_URL"])
    assert load_url({"DATABASE_URL": url}) == load_url(URL)
    assert config.load(URL | {"PORT": around.format("")}) == config.load(URL)


def test_libpqs_parameters_in_the_url_are_kept():
    url = "postgresql://me@host/name?options=-c%20search_path%3Dx&application_name=y"
    assert load_url({"DATABASE_URL": url}).query == {
        "options": "-c search_path=x",
        "application_name": "y",
    }


@pytest.mark.parametrize(
    "query",
    [
        "connect_timeout=60",
        "options=-c%20statement_timeout%3D60000",
        "options=--lock-timeout%3D60s",
    ],
)
def test_limits_that_would_be_ignored_are_refused(query):
    with pytest.raises(config.ConfigError, match="every wait for the database is limited already"):
        config.load({"DATABASE_URL": f"postgresql://me@host/name?{query}"})


def test_old_names_of_time_zones_are_known_everywhere():
    for name in ("US/Pacific", "Asia/Calcutta", "Europe/Kiev"):
        assert config.load(URL | {"TIME_ZONE": name})["TIME_ZONE"].key == name


def test_keys_are_digests():
    loaded = config.load(URL | {"API_KEYS": f"{'0' * 64},{'AB' * 32} {'ab' * 32}"})
    assert loaded["API_KEYS"] == {bytes(32), bytes([0xAB] * 32)}
    for blank in ({}, {"API_KEYS": ""}, {"API_KEYS": " \n"}):
        assert config.load(URL | blank)["API_KEYS"] == set()


def test_the_digest_of_an_empty_key_is_refused():
    """That of `printf %s "$key"` where nobody has set the variable."""
    nothing = hashlib.sha256().hexdigest()
    for keys in (nothing, nothing.upper(), f"{'0' * 64},{nothing}"):
        with pytest.raises(config.ConfigError, match="the digest of an empty key"):
            config.load(URL | {"API_KEYS": keys})


def test_a_database_is_required():
    with pytest.raises(config.ConfigError, match="DATABASE_URL is missing: expected postgresql://"):
        config.load({})
