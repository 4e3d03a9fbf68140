"""Lighthouse's marks of the page, as a desktop and as its slow phone: each at least 95 of 100, on any machine.

Lighthouse looks at the page in a browser once, and computes from what it recorded how long the page would take on a slower
network and processor. What in the record is the machine's and not the page's is put right before it computes:

| recorded | counts as |
|---|---|
| how long each of the page's tasks took by the clock, waiting for a processor too | the processor's time that it took |
| the processor's time that tasks took on a slow one | what they take on one that Lighthouse's slowdown is meant for |
| how soon the server answered | SERVER_MS: how soon it does is measured by `bench/page.py` |

When each frame was painted cannot be put right, and turns the mark on a busy machine. So there are RECORDS, as Lighthouse's
variability.md advises, and the one with the median of performance counts, whole.
"""

import itertools
import json
import os
import statistics
import subprocess

import pytest

pytestmark = [pytest.mark.chromium, pytest.mark.lighthouse]
SERVER_MS = 30
SCORE_MIN = 0.95
SHIFT_MAX = 0.05
RECORDS = 3
RECORDS_LOST_MAX = 3
LOST = "NO_NAVSTART"
"""Lighthouse's word where the browser, on a busy machine, lost the begin of the page from its trace: "please run again"."""
DEVICE = ("formFactor", "screenEmulation", "emulatedUserAgent", "throttlingMethod", "throttling")
WORK = """() => {
  for (let round = 0; round < 12; round++) {
    const rows = Array.from({length: 400}, (_, place) => ({name: `name ${(place * 7919 + round) % 1000}`, place}));
    rows.sort((one, other) => one.name.localeCompare(other.name));
    const cells = rows.map(({name, place}) => `<tr><td>${name}<td><b>${place}</b>`);
    document.body.innerHTML = `<table>${cells.join('')}</table>`;
    document.body.offsetHeight; // lays it out
  }
}"""
"""What a page does, in small: script, parsing, style and layout."""
WORK_MS = 330
"""The processor's time that WORK takes where `benchmarkIndex` is 1750, the middle of 1500 to 2000: for such a machine is
the slowdown that Lighthouse takes unless told otherwise, and its throttling.md has one calibrate it for a slower one."""
WORK_TIMES = 2


@pytest.fixture
def mark(lighthouse_program, chromium_program, browser, tmp_path):
    """Have an address marked as on a device; give the scores of the categories and the audits, or None: the record was LOST."""

    def mark(url, device):
        def run(*words):
            done = subprocess.run(
                [lighthouse_program, url, "--quiet", "--no-enable-error-reporting", *words],
                env={**os.environ, "CHROME_PATH": chromium_program, "HOME": str(tmp_path)},
                cwd=tmp_path, capture_output=True, text=True, check=False, timeout=170,
            )  # fmt: skip
            assert done.returncode == 0 or LOST in done.stderr, done.stderr[-2000:]
            return done.returncode == 0

        record, config, report = tmp_path / "record", tmp_path / "config.json", tmp_path / "report.json"
        preset = ["--preset=desktop"] if device == "desktop" else []
        before = work_ms(browser)
        if not run(f"--gather-mode={record}", "--chrome-flags=--headless=new --no-sandbox", *preset):
            return None
        speed = WORK_MS / statistics.mean([*before, *work_ms(browser)])
        recorded = json.loads((record / "artifacts.json").read_text())
        settings = recorded["settings"]
        # A faster machine counts as the one that is meant: nobody is asked for more than Lighthouse itself asks.
        settings["throttling"]["cpuSlowdownMultiplier"] *= min(speed, 1)
        origin = url.removesuffix("/")
        settings["precomputedLanternData"] = {
            "additionalRttByOrigin": {origin: 0},
            "serverResponseTimeByOrigin": {origin: SERVER_MS},
        }
        (record / "artifacts.json").write_text(json.dumps(recorded))
        trace = json.loads((record / "defaultPass.trace.json").read_text())
        without_waits(trace["traceEvents"])
        (record / "defaultPass.trace.json").write_text(json.dumps(trace))
        given = {name: settings[name] for name in (*DEVICE, "precomputedLanternData")}
        config.write_text(json.dumps({"extends": "lighthouse:default", "settings": given}))
        if not run(f"--audit-mode={record}", f"--config-path={config}", "--output=json", f"--output-path={report}"):
            return None
        answer = json.loads(report.read_text())
        return {name: one["score"] for name, one in answer["categories"].items()}, answer["audits"]

    return mark


def work_ms(browser):
    """Do WORK some times, each in a new page; the processor's time of each: a machine's load leaves it as it is."""

    def once():
        context = browser.new_context()
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def task_s():
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

        begun_s = task_s()
        page.evaluate(WORK)
        took_s = task_s() - begun_s
        context.close()
        return 1000 * took_s

    return [once() for _ in range(WORK_TIMES)]


def without_waits(events):
    """In a trace, let each task of a page's main thread take as long as it had a processor; what is in it shrinks with it.

    Each by its own share: that of all together is low where many short ones waited, and would excuse a long one that did not.
    """
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    for thread in threads:
        own = [event for event in events if (event["pid"], event["tid"]) == thread]
        begun, end, share = 0, 0, 1.0
        for event in sorted(own, key=lambda event: (event["ts"], event["name"] != "RunTask")):
            if event["ts"] >= end:
                if event["name"] != "RunTask" or "tdur" not in event or not event["dur"]:
                    continue
                begun, end, share = event["ts"], event["ts"] + event["dur"], min(event["tdur"] / event["dur"], 1)
            event["ts"] = begun + (event["ts"] - begun) * share
            if "dur" in event:
                event["dur"] *= share


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_marks_of_the_page(mark, factory, device):
    tried = (mark(f"{factory}/", device) for _ in range(RECORDS + RECORDS_LOST_MAX))
    marks = list(itertools.islice(filter(None, tried), RECORDS))
    assert len(marks) == RECORDS
    scores, audits = sorted(marks, key=lambda one: one[0]["performance"])[RECORDS // 2]
    short = {name: audit["displayValue"] for name, audit in audits.items() if audit.get("displayValue")}
    assert set(scores) == {"performance", "accessibility", "best-practices", "seo"}
    assert min(scores.values()) >= SCORE_MIN, (scores, short)
    assert audits["cumulative-layout-shift"]["numericValue"] < SHIFT_MAX
