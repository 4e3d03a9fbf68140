"""What a rule may say, and what is told of a wrong one."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tailtrace_bridge.alerts.courier import destinations_of
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.settings.alert_rules import AlertRule, is_quiet


def load(tmp_path, monkeypatch, text):
    (tmp_path / "tailtrace.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return settings.load()


@pytest.mark.parametrize(
    ("kind", "window", "hold", "threshold", "clear"),
    [
        ("uptime", 900, 120, 99, 99.5),
        ("error_rate", 300, 120, 0.05, 0.025),
        ("p95", 600, 120, 1000, 800),
        ("no_data", 1800, 60, None, None),
        ("new_device", 86400, 120, None, None),
        ("new_user", 86400, 120, None, None),
        ("new_error", 3600, 120, None, None),
        ("error_back", 3600, 120, None, None),
        ("tailscaled_down", 3600, 120, None, None),
        ("store_down", 3600, 120, None, None),
    ],
)
def test_what_a_kind_means_by_itself(kind, window, hold, threshold, clear):
    rule = AlertRule(kind=kind)
    assert (rule.name, rule.window, rule.hold, rule.threshold, rule.clear) == (kind, window, hold, threshold, clear)


def test_all_of_a_rule(tmp_path, monkeypatch):
    rules = load(
        tmp_path,
        monkeypatch,
        """
        alert_quiet = "22:00-07:00"
        [[alerts]]
        name = "orders fail"
        kind = "error_rate"
        window = "10m"
        threshold = 0.1
        clear = 0.02
        for = "90s"
        min_requests = 5
        endpoint = "/orders/{order_id}"
        service = "shop.example"
        quiet = ""
        [[alerts]]
        kind = "store_down"
        """,
    ).alerts
    assert rules[0] == AlertRule(
        name="orders fail", kind="error_rate", window=600, threshold=0.1, clear=0.02, hold=90, min_requests=5,
        endpoint="/orders/{order_id}", service="shop.example", quiet="",
    )  # fmt: skip
    assert (rules[1].name, rules[1].quiet) == ("store_down", None)


def test_rules_come_by_the_environment_too(tmp_path, monkeypatch):
    monkeypatch.setenv("TAILTRACE_ALERTS", '[{"kind": "p95", "for": "5m"}]')
    assert load(tmp_path, monkeypatch, "").alerts == [AlertRule(kind="p95", hold=300)]
    monkeypatch.setenv("TAILTRACE_ALERTS", "p95")
    with pytest.raises(SettingsError, match=r'TAILTRACE_ALERTS: .*write it like \[\{"kind": "error_rate"\}\]'):
        load(tmp_path, monkeypatch, "")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            'kind = "errors"',
            "tailtrace.toml: [[alerts]] number 1 kind: 'errors' is not accepted; write 'uptime', 'error_rate', 'p95'",
        ),
        ("threshold = 1", "tailtrace.toml: [[alerts]] number 1 kind: is missing; add it: docs/alerts.md has examples"),
        (
            'kind = "p95"\nwindow = "5 minutes"',
            "number 1 window: '5 minutes' is no duration; write one like 90s, 5m, 2h or 1d",
        ),
        (
            'kind = "p95"\nwindow = "30s"',
            "number 1 window: '30s' is not accepted; write a duration from 1m to 1d, such as 90s",
        ),
        (
            'kind = "p95"\nwindow = "2d"',
            "number 1 window: '2d' is not accepted; write a duration from 1m to 1d, such as 90s",
        ),
        (
            'kind = "p95"\nfor = 90000',
            "number 1 for: 90000 is not accepted; write a duration from 0s to 1d, such as 90s",
        ),
        ('kind = "p95"\ntreshold = 3', "number 1 treshold: there is no such setting; did you mean threshold?"),
        ('kind = "error_rate"\nthreshold = 5', "threshold 5 of error_rate is more than 1: it is a share, 0.05 is 5%"),
        ('kind = "p95"\nclear = 2000', "clear 2000 of p95 must be below its threshold 1000"),
        ('kind = "uptime"\nclear = 90', "clear 90 of uptime must be above its threshold 99"),
        ('kind = "no_data"\nthreshold = 3', "no_data has no threshold and no clear: take them out"),
        ('kind = "no_data"\nendpoint = "/a"', "no_data is not about an endpoint or a service: take these out"),
        ('kind = "endpoint_silent"', 'endpoint_silent needs an endpoint: add endpoint = "/items/{item_id}"'),
        ('kind = "p95"\nquiet = "22-7"', "number 1 quiet: '22-7' are no quiet hours; write them like 22:00-07:00"),
        ('kind = "p95"\nthreshold = nan', "number 1 threshold: nan is not accepted; write a number, 0 or more"),
        ('kind = "p95"\n[[alerts]]\nkind = "p95"', "two rules are called 'p95': give each a name = \"…\" of its own"),
    ],
)
def test_a_wrong_rule_is_told_with_its_place(tmp_path, monkeypatch, rule, said):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, monkeypatch, f"[[alerts]]\n{rule}\n")
    assert said in str(error.value)


def test_a_wrong_url_is_told_without_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for text, said in (
        ("ntfy://good/topic sekret-token-1", "number 2 is no apprise URL"),
        ("://sekret-token-1", "number 1 is no apprise URL"),
        (" ".join(["json://x/sekret-token-1"] * 21), "21 URLs; there may be 20"),
    ):
        with pytest.raises(SettingsError, match=said) as error:
            destinations_of(settings.load(alert_urls=text).secret("alert_urls"))
        assert "sekret" not in str(error.value)


def test_urls_come_from_a_file_and_show_nowhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "urls").write_text("tgram://sekret/12\nntfys://ntfy.sh/sekret\n", encoding="utf-8")
    chosen = settings.load(alert_urls_file=tmp_path / "urls")
    found = destinations_of(chosen.secret("alert_urls"))
    assert [one.name for one in found] == ["1:tgram", "2:ntfys"]
    assert found[0].url.get_secret_value() == "tgram://sekret/12"
    assert "sekret" not in repr(found) + repr(settings.load(alert_urls="tgram://sekret/12"))
    (tmp_path / "tailtrace.toml").write_text('alert_urls = ["tgram://sekret/12", "ntfys://ntfy.sh/sekret"]\n')
    assert destinations_of(settings.load().secret("alert_urls")) == found


@pytest.mark.parametrize(
    ("hours", "zone", "now", "quiet"),
    [
        ("22:00-07:00", "UTC", "2025-10-08T21:59:59", False),
        ("22:00-07:00", "UTC", "2025-10-08T22:00:00", True),
        ("22:00-07:00", "UTC", "2025-10-09T00:00:00", True),
        ("22:00-07:00", "UTC", "2025-10-09T06:59:59", True),
        ("22:00-07:00", "UTC", "2025-10-09T07:00:00", False),
        ("12:00-13:00", "UTC", "2025-10-09T12:30:00", True),
        ("12:00-13:00", "UTC", "2025-10-09T13:00:00", False),
        ("", "UTC", "2025-10-09T03:00:00", False),
        # Madrid, 26 October 2025: 03:00 CEST becomes 02:00 CET, at 01:00 UTC.
        ("22:00-07:00", "Europe/Madrid", "2025-10-26T05:59:59", True),
        ("22:00-07:00", "Europe/Madrid", "2025-10-26T06:00:00", False),
        # and 30 March 2025: 02:00 CET becomes 03:00 CEST.
        ("22:00-07:00", "Europe/Madrid", "2025-03-30T04:59:59", True),
        ("22:00-07:00", "Europe/Madrid", "2025-03-30T05:00:00", False),
        ("02:15-02:45", "Europe/Madrid", "2025-03-30T01:30:00", False),  # that half hour does not exist
    ],
)
def test_quiet_hours_go_by_the_clock_on_the_wall(hours, zone, now, quiet):
    now_us = int(datetime.fromisoformat(now + "+00:00").timestamp()) * 1_000_000
    assert is_quiet(hours, now_us, ZoneInfo(zone)) is quiet
