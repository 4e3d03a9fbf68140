"""Values as words."""

import pytest

from tailtrace_api.mcp_server.words import Words

EN, ES = Words("en"), Words("es")


@pytest.mark.parametrize(
    ("seconds", "en", "es"),
    [
        (0, "now", "ahora"), (4.9, "now", "ahora"), (26, "26 s ago", "hace 26 s"), (120, "2 min ago", "hace 2 min"),
        (7199, "1 h ago", "hace 1 h"), (3 * 86_400, "3 d ago", "hace 3 d"), (None, "unknown", "desconocido"),
    ],
)  # fmt: skip
def test_ago(seconds, en, es):
    assert (EN.ago(seconds), ES.ago(seconds)) == (en, es)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(99.8, "99.8%"), (99.97, "99.9%"), (100.0, "100%"), (0.0, "0%"), (0.25, "0.25%"), (1.164, "1.2%"), (None, "unknown")],
)  # fmt: skip
def test_percent(value, shown):
    assert EN.percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(892.4, "892ms"), (4.25, "4.2ms"), (999.7, "1.00s"), (1340.0, "1.34s"), (12_340.0, "12.3s"), (None, "unknown")],
)
def test_millis(value, shown):
    assert EN.millis(value) == shown


def test_a_value_is_no_format():
    said = EN.say("views", feature="{count} {0.__class__}", count=EN.count("views", 3))
    assert said == "{count} {0.__class__} (3 views)"


@pytest.mark.parametrize(
    ("what", "number", "en", "es"),
    [
        ("sessions", 1, "1 session", "1 sesión"), ("sessions", 2, "2 sessions", "2 sesiones"),
        ("users", 0, "0 users", "0 usuarios"), ("requests", 1, "1 request", "1 acceso"), ("days", 1, "1 day", "1 día"),
    ],
)  # fmt: skip
def test_one_of_it_and_more(what, number, en, es):
    assert (EN.count(what, number), ES.count(what, number)) == (en, es)


def test_the_end_of_a_window():
    assert (EN.up_to(None), EN.up_to("2025-10-08T12:32:15.500000+00:00")) == ("", " up to 2025-10-08 12:32 UTC")


def test_a_language_we_do_not_speak():
    with pytest.raises(ValueError, match="'fr' is none of our languages: en, es"):
        Words("fr")
