"""Look at the logs that `TAILTRACE_LOG` names: readable, being written, understood, rotated without loss.

| what is seen | status |
|---|---|
| no file, or not readable | failure, with whose file it is |
| others may write to it | warning: a line could be forged |
| a rotated file was written after the live one | failure: nginx was not told to open its logs anew |
| nothing written for `QUIET_S` | warning |
| of the newest lines, some are rejected | warning; failure from `REJECTED_FAILURE` on |
| no logrotate rule names it | warning: it grows for ever |
| a rule with `copytruncate` | warning: lines between copy and cut are lost |
| a rule without a signal to nginx | failure: nginx writes on into the renamed file |
| a rule that creates files which we may not read | warning: after the next rotation nothing is read |

Source: https://nginx.org/en/docs/control.html#logs and logrotate(8).
"""

import fnmatch
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tailtrace_api.doctor.checks import Check, Status, make_check
from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.files import fingerprint, if_several, unreadable
from tailtrace_bridge.logs.parser import LineParser
from tailtrace_bridge.logs.rotation import is_rotated_name

LOGS_MAX = 20
"""Logs of a glob that are looked at; a check counts the others."""
TAIL_BYTES_MAX = 256 * 1024
TAIL_LINES_MAX = 1000
REASONS_SHOWN_MAX = 3
REJECTED_FAILURE = 0.5
QUIET_S = 3600
RULE_BYTES_MAX = 1024 * 1024
RULE_FILES_MAX = 200
LOGROTATE = (Path("/etc/logrotate.conf"), Path("/etc/logrotate.d"))
_SIGNALS = re.compile(r"USR1|nginx\s+(?:-s\s+reopen|rotate)|reopen")
_RULE = re.compile(r"^(?P<names>[ \t]*[\"/][^{}#]*?)\{(?P<body>.*?)^[ \t]*\}", re.DOTALL | re.MULTILINE)
_SCRIPT = re.compile(r"^[ \t]*(?:postrotate|lastaction)[ \t\r]*$(.*?)^[ \t]*endscript", re.DOTALL | re.MULTILINE)
_CREATE = re.compile(r"^[ \t]*create(?:[ \t]+([0-7]{3,4}))?(?:[ \t]+(\S+)[ \t]+(\S+))?[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LogReport:
    """What was found of all logs, and the newest line's time with that of the file's last change."""

    checks: tuple[Check, ...]
    newest_us: int | None = None
    changed_us: int | None = None
    lines: tuple[Access, ...] = ()
    """The newest of all logs, those that are understood."""


def check_logs(pattern: str, parser: LineParser, now_us: int, *, rotation: tuple[Path, ...] = LOGROTATE) -> LogReport:
    """Look at every log that `pattern` (`TAILTRACE_LOG`) names."""
    paths: dict[str, None] = {}
    for part in filter(None, map(str.strip, pattern.split(","))):
        found = sorted(glob.glob(part)) if glob.has_magic(part) else [part]  # noqa: PTH207 - a pattern of any root
        if not found:
            return LogReport((make_check("log", "failure", f"{part}: names no file{if_several(part)}", _NO_FILE),))
        paths |= dict.fromkeys(found)
    rules = read_rules(rotation)
    checks: list[Check] = []
    newest: tuple[int, int] | None = None
    records: list[Access] = []
    for path in list(paths)[:LOGS_MAX]:
        try:
            tail, status = _tail(path)
        except OSError as error:
            words, _, cure = str(unreadable(path, error)).rpartition(". ")
            checks.append(make_check("log", "failure", words or cure, cure if words else _NO_FILE))
            continue
        changed_us = status.st_mtime_ns // 1000
        checks += [_check_access(path, status), _check_written(path, status, now_us)]
        lines, line_us, understood = _check_lines(path, tail, parser)
        records += understood
        checks += [lines, check_rotation(path, rules, owner=status.st_uid)]
        if line_us is not None and (newest is None or line_us > newest[0]):
            newest = line_us, changed_us
    if len(paths) > LOGS_MAX:
        checks.append(
            make_check(
                "log",
                "warning",
                f"{len(paths) - LOGS_MAX} more logs were not looked at",
                "name fewer with TAILTRACE_LOG",
            )
        )
    if not checks:
        checks.append(make_check("log", "failure", "TAILTRACE_LOG is empty", _NO_FILE))
    records.sort(key=lambda record: record.time_us)
    times = newest or (None, None)
    return LogReport(tuple(checks), times[0], times[1], tuple(records[-TAIL_LINES_MAX:]))


def newest_lines(pattern: str, parser: LineParser) -> tuple[Access, ...]:
    """Return the newest lines that are understood, of all logs together; none where no log can be read."""
    return check_logs(pattern, parser, 0, rotation=()).lines


_NO_FILE = "name the log that nginx writes with TAILTRACE_LOG, or make nginx write it (see `tailtrace nginx`)"


def _tail(path: str) -> tuple[bytes, os.stat_result]:
    """Return the end of the file, from a line's start on. Raises `OSError`."""
    # Not blocking: a named pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is a pipe or a device; name a regular file")
        offset = max(0, status.st_size - TAIL_BYTES_MAX)
        data = os.pread(descriptor, TAIL_BYTES_MAX, offset)
    finally:
        os.close(descriptor)
    return (data.partition(b"\n")[2] if offset else data), status


def _check_access(path: str, status: os.stat_result) -> Check:
    mode = stat.S_IMODE(status.st_mode)
    said = f"{path} is readable by this user (owner {status.st_uid}:{status.st_gid}, mode {mode:04o})"
    if mode & stat.S_IWOTH:
        return make_check("log access", "warning", f"{said}, and anyone may write to it", f"sudo chmod o-w {path}")
    if os.geteuid() == 0:
        return make_check("log access", "ok", f"{said}: root reads everything; run the doctor as tailtrace's user too")
    return make_check("log access", "ok", said)


def _check_written(path: str, status: os.stat_result, now_us: int) -> Check:
    name, folder = "log written", Path(path).parent
    rotated = [entry for entry in _entries(folder) if is_rotated_name(entry, Path(path).name)]
    for entry in rotated:
        try:
            other = (folder / entry).stat()
        except OSError:
            continue
        if not entry.endswith(".gz") and other.st_mtime_ns > status.st_mtime_ns and other.st_size > status.st_size == 0:
            return make_check(
                name,
                "failure",
                f"{path} is empty and {entry} was written after it: nginx writes on into the renamed file",
                "`sudo nginx -s reopen` now, and a postrotate with `kill -USR1` in its logrotate rule",
            )
    quiet_s = max(0, now_us - status.st_mtime_ns // 1000) // 1_000_000
    if quiet_s > QUIET_S:
        words = f"{path}: nothing was written for {quiet_s // 60} min"
        return make_check(
            name, "warning", words, "send a request through nginx; if no line comes, see the nginx checks"
        )
    return make_check(name, "ok", f"{path}: last written {quiet_s} s ago")


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _check_lines(path: str, tail: bytes, parser: LineParser) -> tuple[Check, int | None, list[Access]]:
    """Parse the newest lines; give the check and the newest time."""
    name = "log lines"
    lines = [bare for line in tail.split(b"\n")[:-1][-TAIL_LINES_MAX:] if (bare := line.rstrip(b"\r"))]
    if not lines:
        return make_check(name, "warning", f"{path}: no line yet", "send a request through nginx"), None, []
    rejected: list[RejectedLine] = []
    understood: list[Access] = []
    newest_us: int | None = None
    for offset, line in enumerate(lines):
        record = parser.parse(line, path, offset, fingerprint(lines[0]))
        if isinstance(record, RejectedLine):
            rejected.append(record)
        elif record is not None:
            understood.append(record)
            newest_us = max(newest_us or 0, record.time_us + (record.request_time_us or 0))
    if not rejected:
        said = f"{path}: all of the newest {len(lines)} lines are understood"
        return make_check(name, "ok", said), newest_us, understood
    status: Status = "failure" if len(rejected) >= REJECTED_FAILURE * len(lines) else "warning"
    reasons = Counter(one.reason for one in rejected).most_common(REASONS_SHOWN_MAX)
    return (
        make_check(
            name,
            status,
            f"{path}: {100 * len(rejected) / len(lines):.1f} % of the newest {len(lines)} lines are rejected "
            f"({', '.join(f'{reason} {count}' for reason, count in reasons)}); the first: {rejected[0].text[:120]}",
            "set TAILTRACE_LOG_FORMAT to the log_format of this log, or let nginx write our format",
        ),
        newest_us,
        understood,
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """One block of logrotate's: the patterns it is for, and its text without comments."""

    file: str
    patterns: tuple[str, ...]
    body: str


def read_rules(places: tuple[Path, ...]) -> list[Rule]:
    """Read logrotate's files; one that cannot be read has no rules."""
    files = [file for place in places for file in ([place / name for name in _entries(place)] or [place])]
    texts: dict[str, str] = {}
    for file in files[:RULE_FILES_MAX]:
        try:
            if file.is_file():
                with file.open("rb") as opened:
                    texts[str(file)] = opened.read(RULE_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            continue
    return parse_rules(texts)


def parse_rules(texts: Mapping[str, str]) -> list[Rule]:
    """Find the blocks in logrotate's files, given by path."""
    rules = []
    for file, text in texts.items():
        bare = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
        for match in _RULE.finditer(bare):
            names = re.findall(r'"([^"]*)"|(\S+)', match["names"])
            rules.append(Rule(file, tuple(quoted or plain for quoted, plain in names), match["body"]))
    return rules


def check_rotation(path: str, rules: list[Rule], *, owner: int) -> Check:
    """Return whether logrotate turns this log over without losing lines. `owner` is the uid of the log of now."""
    name = "log rotation"
    absolute = str(Path(path).absolute())
    rule = next((r for r in rules if any(fnmatch.fnmatchcase(absolute, pattern) for pattern in r.patterns)), None)
    if rule is None:
        return make_check(
            name,
            "warning",
            f"{path}: no logrotate rule names it: it grows until the disk is full",
            "copy tailtrace.logrotate, which `tailtrace nginx` writes, to /etc/logrotate.d/tailtrace",
        )
    if re.search(r"^\s*copytruncate\s*$", rule.body, re.MULTILINE):
        return make_check(
            name,
            "warning",
            f"{rule.file}: copytruncate loses the lines written between copy and cut",
            "use `create` and a postrotate with `kill -USR1`, as tailtrace.logrotate does",
        )
    if not any(_SIGNALS.search(script) for script in _SCRIPT.findall(rule.body)):
        return make_check(
            name,
            "failure",
            f"{rule.file}: nothing tells nginx to open {path} anew: it would write on into the renamed file",
            'add a postrotate: kill -USR1 "$(cat /run/nginx.pid)"',
        )
    created = _CREATE.search(rule.body)
    mode = int(created[1], 8) if created and created[1] else None
    if mode is not None and not mode & (stat.S_IRGRP | stat.S_IROTH) and os.geteuid() not in {0, owner}:
        return make_check(
            name,
            "warning",
            f"{rule.file}: `create {mode:04o}` makes a log that this user may not read after the next rotation",
            "give its group the right to read (`create 0640 www-data adm`) and put tailtrace's user into the group",
        )
    return make_check(name, "ok", f"{rule.file} renames {path} and tells nginx")
