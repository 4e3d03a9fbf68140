"""A text that was told in one language is read in another, value by value."""

from itertools import product
from time import process_time
from zoneinfo import ZoneInfo

import pytest

from tailtrace_bridge.alerts.words import Words
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.texts.catalogue import LANGUAGES, read
from tailtrace_bridge.texts.reworded import reworded

FACTS = {
    "requests": 640, "errors": 12, "bad": 3, "minutes": 60, "lasted": "1 h 20 min", "problem": "no socket: /run/x",
    "what": "KeyError __other__", "people": 2, "hit": "ana@example.com, ben", "trace": "https://t.example/?request=ab",
}  # fmt: skip
TOLD = sorted(key for key in read("alerts", "en") if key.endswith((".started", ".ended", ".seen")))


def told(lang, key, **rule):
    kind, what = key.split(".")
    words = Words(lang, ZoneInfo("UTC"))
    subject = words.say("of", device="ana-laptop", user="ana@example.com")
    return words.event(AlertRule(kind=kind, **rule), what, 0.0123, {**FACTS, "subject": subject})


def rules(key):
    """The scopes that a rule of this kind may have."""
    kind = key.split(".")[0]
    if kind == "endpoint_silent":
        return [{"endpoint": "/items"}, {"endpoint": "/a b", "service": "x"}]
    scoped = [{"endpoint": "__other__"}, {"service": "shop"}, {"endpoint": "/a b", "service": "x"}]
    return [{}, *(scoped if kind in {"uptime", "error_rate", "p95"} else [])]


@pytest.mark.parametrize(("key", "rule"), [(key, rule) for key in TOLD for rule in rules(key)])
def test_each_text_comes_out_as_if_it_had_been_told_in_the_other_language(key, rule):
    for spoken, lang in product(LANGUAGES, LANGUAGES):
        assert reworded(told(spoken, key, **rule), *key.split("."), lang) == told(lang, key, **rule)


def test_a_number_has_the_decimal_sign_of_the_language():
    text = "p95 1.50 s in the last 10 min (limit 800 ms), of 64 requests."
    assert (
        reworded(text, "p95", "started", "es") == "p95 1,50 s en los últimos 10 min (límite 800 ms), de 64 peticiones."
    )


def test_what_was_not_told_by_us_stays():
    assert reworded("p95 rose to 3 s!", "p95", "started", "es") == "p95 rose to 3 s!"
    assert reworded("No request for 5 min.", "a kind of later", "started", "es") == "No request for 5 min."
    assert reworded("The rule was taken out of the settings.", "", "ended", "es") == "La regla se quitó de los ajustes."


def test_a_name_that_reads_like_a_text_of_ours_is_a_name():
    said = reworded("New device: x Endpoint y. of z", "new_device", "seen", "es")
    assert said == "Dispositivo nuevo: x Endpoint y. de z"


def test_a_text_full_of_our_words_takes_no_longer_for_it():
    between = " in the last x (limit x): x of x requests ended in 5xx. Endpoint x. Service x. " * 20_000
    begun_s = process_time()
    assert reworded(f"Error rate{between}!", "error_rate", "started", "es") == f"Error rate{between}!"
    assert process_time() - begun_s < 1, "all places for all words would be years"
