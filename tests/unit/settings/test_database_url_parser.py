"""DATABASE_URL as hosting companies, env files and people write it."""

from __future__ import annotations

import pytest

from app.settings.database_url import DatabaseUrlError, Host, PostgresUrl, SqliteUrl
from app.settings.database_url_parser import parse_database_url
from app.storage.engine.database import Database

SECRET = "sEcr3t"


def postgres(url: str) -> PostgresUrl:
    parsed = parse_database_url(url)
    assert isinstance(parsed, PostgresUrl)
    return parsed


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///./x.db", "./x.db"),
        ("sqlite:////data/x.db", "/data/x.db"),
        ("sqlite+aiosqlite:///x.db", "x.db"),
        ("sqlite:///./x.db\r", "./x.db"),
        (" sqlite:///./x.db\n", "./x.db"),
        ("sqlite:///./my%20shop.db", "./my shop.db"),
        ("sqlite:///./my shop.db", "./my shop.db"),
        ("sqlite:///./q%3Fx.db", "./q?x.db"),
        ("sqlite:///./a%2525b.db", "./a%25b.db"),
        ("sqlite:///./a#b.db", "./a#b.db"),
    ],
)
def test_a_path_is_decoded_once_and_its_ends_are_stripped(url: str, path: str) -> None:
    """One file for everybody who opens it."""
    assert parse_database_url(url) == SqliteUrl(path=path)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_every_usual_scheme_of_postgresql_is_taken(scheme: str) -> None:
    """Heroku writes postgres, SQLAlchemy a driver: the server is the same."""
    assert postgres(f"{scheme}://u:p@h:5/d") == postgres("postgresql://u:p@h:5/d")


@pytest.mark.parametrize("password", ["a[b", "a]b", "[x]", "p@ss", "p:w", "100%", "a,b", "a b"])
def test_a_password_with_a_harmless_raw_character_is_taken(password: str) -> None:
    """Nothing is ambiguous in it."""
    url = postgres(f"postgresql://shop:{password}@h/d")
    assert (url.user, url.password, url.hosts) == ("shop", password, (Host(name="h", port=None),))


def test_a_password_that_is_percent_encoded_is_decoded_once() -> None:
    assert postgres("postgresql://s%40x:a%2Fb%23%2525@h/d").password == "a/b#%25"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "[::1]:1", "h"])
@pytest.mark.parametrize("raw", ["#x", "/x", "?x", "?x=1", "#", "/", "@/x", "@?x=y", "[/x", ":#1", "[x]/"])
def test_a_raw_character_in_a_password_tells_nothing_of_it(raw: str, host: str) -> None:
    """It is refused with what to do."""
    with pytest.raises(DatabaseUrlError, match="percent-encoded") as caught:
        parse_database_url(f"postgresql://shop:{SECRET}{raw}{SECRET}@{host}/shop")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://shop:{SECRET}#{SECRET}",
        f"postgresql://shop:{SECRET}/{SECRET}",
        f"postgresql://u:{SECRET}@h:{SECRET}/d",
        f"postgresql://u:p@{SECRET}!/d",
        f"postgresql://u:p@[{SECRET}/d",
        f"postgresql://u:p@h/d?{SECRET}",
        f"postgresql://u:p@h/d?sslmode={SECRET}",
        f"postgresql://u:p@h/d?connect_timeout={SECRET}",
        f"postgresql://u:p@h/d?channel_binding={SECRET}",
        f"postgresql://u:p@h/d?hostaddr={SECRET}",
        f"{SECRET}://u:p@h/d",
        f"postgresql://u:{SECRET}\n@h/d",
        f'"postgresql://u:{SECRET}@h/d"',
        f"sqlite://{SECRET}.db",
        f"sqlite:///x.db?{SECRET}=1",
        "sqlite:///:memory:",
        "sqlite://",
        "mysql://x/y",
        "",
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence_without_its_value(url: str) -> None:
    """The value can be a password, wherever it stands."""
    with pytest.raises(DatabaseUrlError, match=r"^DATABASE_URL .*\.\)?$") as caught:
        parse_database_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=prefer&channel_binding=prefer",
        "connect_timeout=10",
        "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3",
        "gssencmode=disable",
        "application_name=shop",
        "options=-c%20statement_timeout%3D5s",
        "target_session_attrs=read-write",
        "target_session_attrs=any",
        "ssl=prefer",
        "sslsni=1&client_encoding=utf8",
        "tcp_user_timeout=3000",
        "connect_timeout=&sslmode=",
    ],
)
async def test_parameters_of_libpq_are_taken(query: str, postgres_url: str) -> None:
    """As the host's own page hands the URL out."""
    connection = await Database(f"{postgres_url}?{query}").connect_postgres()
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_names_options_and_keepalives_reach_the_server(postgres_url: str) -> None:
    options = "-c%20work_mem%3D7MB%20-c%20statement_timeout%3D7s"
    query = f"application_name=shop&options={options}&keepalives_idle=33"
    connection = await Database(f"{postgres_url}?{query}").connect_postgres()
    asked = ("application_name", "work_mem", "statement_timeout")
    shown = [await connection.fetchval(f"SHOW {name}") for name in asked]
    await connection.close()
    assert shown == ["shop", "7MB", "0"]  # no statement has a time-out: ADR 10


def test_a_neon_url_is_refused_for_its_channel_binding_and_taken_with_a_proven_certificate() -> None:
    """What the driver can't keep is said, and what keeps the same promise."""
    neon = "postgresql://u:p@ep-x.eu.aws.neon.tech/d?sslmode=require&channel_binding=require"
    with pytest.raises(DatabaseUrlError, match="sslmode=verify-full&sslrootcert=system"):
        parse_database_url(neon)
    proven = neon.replace("sslmode=require", "sslmode=verify-full&sslrootcert=system")
    assert postgres(proven).tls_roots == "system"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("pgbouncer=true", "pgbouncer"),
        ("gssencmode=require", "gssencmode"),
        ("client_encoding=latin1", "client_encoding"),
        ("require_auth=scram-sha-256", "require_auth"),
        ("target_session_attrs=standby", "target_session_attrs"),
        ("sslmode=no-verify", "sslmode"),
        ("sslmode=require&sslrootcert=system", "sslrootcert"),
    ],
)
def test_a_parameter_that_cannot_be_kept_is_named(query: str, name: str) -> None:
    """A wish that is dropped without a word would be worse."""
    with pytest.raises(DatabaseUrlError, match=name):
        parse_database_url(f"postgresql://u:p@h/d?{query}")


def test_hosts_and_ports_are_taken_from_everywhere_that_libpq_takes_them() -> None:
    both = (Host(name="a", port=1), Host(name="::1", port=2))
    assert postgres("postgresql://u@a:1,[::1]:2/d").hosts == both
    assert postgres("postgresql:///d?host=a,::1&port=1,2&user=u").hosts == both
    socket = Host(name="/run/postgresql", port=None)
    assert postgres("postgresql://u@%2Frun%2Fpostgresql/d").hosts == (socket,)
    assert postgres("postgresql:///d?host=/run/postgresql").hosts == (socket,)
    assert postgres("postgresql:///d").hosts == (Host(name=None, port=None),)


def test_nothing_that_is_shown_of_a_url_has_its_password() -> None:
    """In a log line or a traceback's locals."""
    shown = repr(postgres(f"postgresql://u:{SECRET}@h/d?sslpassword={SECRET}"))
    assert SECRET not in shown
