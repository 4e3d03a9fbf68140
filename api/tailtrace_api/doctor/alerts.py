"""Look at where alerts go. Nothing is sent: `tailtrace alert --test` does that.

| what | status |
|---|---|
| no rules, no monthly report and no destination | skipped |
| rules or a report, and nobody to send to | warning |
| a URL that is none, or that apprise cannot use | failure: by number and kind, since it has tokens in it |
"""

import threading

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_bridge.alerts.courier import ChildSend, destinations_of
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.settings.table import Settings

NAME = "alerts"


def check_alerts(settings: Settings, send: ChildSend | None = None) -> Check:
    """Look at the form of each destination."""
    try:
        destinations = destinations_of(settings.secret("alert_urls"))
    except SettingsError as error:
        return make_check(NAME, "failure", str(error), "correct it; docs/alerts.md has examples")
    if not destinations:
        if not settings.alerts and not settings.monthly_report:
            return make_check(NAME, "skipped", "no rules and no destination are set")
        cure = "set TAILTRACE_ALERT_URLS, or TAILTRACE_ALERT_URLS_FILE"
        return make_check(NAME, "warning", "there are rules or a monthly report, and nobody to send to", cure)
    found = zip(destinations, (send or ChildSend(threading.Event())).check(destinations), strict=True)
    wrong = [f"{one.name}: {problem}" for one, problem in found if problem]
    if wrong:
        cure = "correct TAILTRACE_ALERT_URLS, then `tailtrace alert --test`"
        return make_check(NAME, "failure", "; ".join(wrong), cure)
    names = ", ".join(one.name for one in destinations)
    return make_check(NAME, "ok", f"{names}: the form is right; `tailtrace alert --test` sends to each")
