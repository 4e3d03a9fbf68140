"""What to do about lines that are rejected: by the reason, and by what an example of it shows.

A line that is in a log already does not change: so where it can be read at all, the advice says how. Of a log that is
edited, lines behind the edit stand elsewhere and would count anew; so `sed -n …p` passes on those alone that it mends.
Pure.
"""

import re

from tailtrace_bridge.logs.grammar import ERROR_LOG

ADVICE = {
    "empty": (
        "The line is blank. nginx writes none: something else does, or the file was edited. Harmless: let it pass, "
        "--max-rejected."
    ),
    "too-long": (
        "The line has more than 64 KiB. Leave request bodies and cookies out of the log_format; the line stays "
        "rejected, so let it pass: --max-rejected."
    ),
    "no-format": (
        "The format does not fit. Leave --log-format out if you gave one, so that known formats are found; else give "
        "the one that nginx writes: --nginx-conf /etc/nginx/nginx.conf, or --log-format '…' "
        "(`nginx -T` prints it); TAILTRACE_LOG_FORMAT takes the same text. "
        "A line that was cut, or two in one, stays rejected."
    ),
    "bad-time": "The time cannot be read. Log $msec, $time_iso8601 or $time_local.",
    "bad-address": (
        "The client is no IP address. Log $remote_addr, not a host's name (Apache: HostnameLookups Off); in lines that "
        "are there already, put the address in its place: "
        "`sed -n 's/^HOST /ADDRESS /p' FILE | tailtrace import -`."
    ),
    "bad-number": (
        "A status, size or duration is no number. Give --log-format with the fields in the order in which they stand "
        "in the line; where it is right, the line was cut and another stands in it (a full disk?)."
    ),
    "second-request": (
        "The line holds the beginning of another one: two were written into each other (a full disk, a crash), and "
        "whose request it is cannot be told. Nothing to do; keep the disk from filling."
    ),
    "cut": (
        "The line ends where the others of its log go on: it was cut (a crash, a full disk, a limit of what sent it "
        "on), and what ends there may be half a number. Nothing to do; if these lines are whole, of a server with a "
        "shorter format, both are read with --nginx-conf /etc/nginx/nginx.conf."
    ),
    "store": (
        "They are older than what this store keeps: TAILTRACE_RETENTION_DAYS has removed rows of their time, or "
        "InfluxDB's bucket takes none so old. Import them into another store (--store)."
    ),
}
"""What to do for each of `rejected.REASONS`, and for what the store rejects."""
_SHOWN = (
    (
        "no-format",
        ERROR_LOG,
        (
            "This is nginx's error log, which has no requests: leave the file out, as in "
            "`tailtrace import /var/log/nginx/access.log*`. The requests that it tells of are in the access log."
        ),
    ),
    (
        "no-format",
        re.compile(r"t[0-9]#011[0-9]{10}\."),
        (
            "rsyslog wrote #011 for each tab of our format. Let it keep them, "
            '`global(parser.escapeControlCharacterTab="off")`; for the lines that are there: '
            r"`sed -n 's/#011/\t/gp' FILE | tailtrace import -`."
        ),
    ),
    (
        "bad-time",
        re.compile(r"[0-9]{2}/[^/\s]*[^/\sA-Za-z][^/\s]*/[0-9]{4}:|[0-9]{2}/[A-Za-z]{3}[A-Za-z.]+/[0-9]{4}:"),
        (
            "The month is not in English, as nginx writes it. Put three English letters in its place, for each month: "
            "`sed -n 's,/Mär/,/Mar/,p' FILE | tailtrace import -`."
        ),
    ),
    (
        "bad-time",
        re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:"),
        (
            "The line has an ISO time where the format has another. Leave --log-format out, so that it is found; or "
            "write $time_iso8601 in it where the time stands."
        ),
    ),
)
"""What an example of a reason may show, and what to do then."""


def advice_on(reason: str, text: str = "") -> str:
    """Return what to do about a rejected line of this reason and text."""
    for shown, pattern, advice in _SHOWN:
        if shown == reason and pattern.search(text):
            return advice
    return ADVICE.get(reason, "")
