"""Talks to apprise in a process of its own: `python -m tailtrace_bridge.alerts.send_child`.

| JSON on stdin | what is done | JSON on stdout |
|---|---|---|
| `url`, `title`, `body`, `is_bad`, `attachments` | sends to one destination | `problem`, empty when it was taken |
| `urls` | looks at their form, sends nothing | `problems`, one for each, empty where it is right |

A URL holds tokens: it is in no argument, no variable, no log, and no word of an answer.

apprise and its services take 45 MiB and may hang; here both end with the process.
"""

import io
import json
import logging
import re
import sys
from typing import Any

NOT_INSTALLED = "apprise is not installed: pip install 'tailtrace[server]'"
NO_URL = "apprise knows no such URL, or a part of it is missing: https://appriseit.com/services/ has the form of each"
_STATUS = re.compile(r"error=(\d{3})\b")


def check(urls: list[str]) -> list[str]:
    """Return for each URL what is wrong with its form, or nothing."""
    try:
        import apprise  # noqa: PLC0415
    except ImportError:
        return [NOT_INSTALLED] * len(urls)
    logging.getLogger("apprise").propagate = False  # its words hold the URL
    return ["" if apprise.Apprise().add(url) else NO_URL for url in urls]


def send(order: dict[str, Any]) -> str:
    """Send, and give what is wrong, or nothing."""
    try:
        import apprise  # noqa: PLC0415  # what is missing is told, not raised
    except ImportError:
        return NOT_INSTALLED
    said = io.StringIO()
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.StreamHandler(said))
    logger.propagate = False
    target = apprise.Apprise()
    if not target.add(order["url"]):
        return NO_URL
    kind = apprise.NotifyType.WARNING if order["is_bad"] else apprise.NotifyType.INFO
    if target.notify(
        body=order["body"],
        title=order["title"],
        notify_type=kind,
        body_format=apprise.NotifyFormat.TEXT,
        attach=order["attachments"] or None,
    ):
        return ""
    # Its words may hold the URL: only a number is taken out of them.
    status = _STATUS.search(said.getvalue())
    return f"refused with HTTP {status[1]}" if status else "refused, or out of reach"


if __name__ == "__main__":
    logging.disable(logging.NOTSET)
    given = json.load(sys.stdin)
    answer = {"problems": check(given["urls"])} if "urls" in given else {"problem": send(given)}
    sys.stdout.write(json.dumps(answer))
