"""What the doctor says of the destinations of alerts, with the real apprise in its child process."""

import pytest

from tailtrace_api.doctor.alerts import check_alerts
from tailtrace_bridge.settings.table import load

SECRET = "sekret-token-1"
RULES = [{"kind": "p95"}]

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize(
    ("flags", "status", "says"),
    [
        ({}, "skipped", "no rules and no destination are set"),
        ({"alerts": RULES}, "warning", "there are rules or a monthly report, and nobody to send to"),
        ({"monthly_report": True}, "warning", "there are rules or a monthly report, and nobody to send to"),
        (
            {"alert_urls": f"ntfys://ntfy.sh/{SECRET}"},
            "ok",
            "1:ntfys: the form is right; `tailtrace alert --test` sends",
        ),
        ({"alert_urls": f"json://a/b tgram://{SECRET}"}, "failure", "2:tgram: apprise knows no such URL"),
        ({"alert_urls": SECRET}, "failure", "TAILTRACE_ALERT_URLS: number 1 is no apprise URL (not shown"),
        ({"alert_urls_file": "missing"}, "failure", "TAILTRACE_ALERT_URLS_FILE: cannot read missing: No such file"),
    ],
)
def test_where_alerts_go(flags, status, says):
    check = check_alerts(load(**flags))
    assert (check.name, check.status, says in check.message) == ("alerts", status, True)
    assert bool(check.cure) == (status in {"warning", "failure"})
    assert SECRET not in check.message + check.cure
