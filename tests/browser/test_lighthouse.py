"""Lighthouse's marks of the page, as a desktop and as its slow phone: each at least 95 of 100, on a machine of any load.

Lighthouse looks at the page in a browser once, and computes from what it recorded how long the page would take on a slower
network and processor. Two things in the record are the machine's and not the page's, and are put right before it computes:

| recorded | counts as |
|---|---|
| how long the page's tasks took by the clock, waiting for a processor too | the processor's time that they took |
| how soon the server answered | SERVER_MS: how soon it does is measured by `bench/page.py` |
"""

import json
import os
import subprocess

import pytest

pytestmark = [pytest.mark.chromium, pytest.mark.lighthouse]
SERVER_MS = 30
SCORE_MIN = 0.95
SHIFT_MAX = 0.05
DEVICE = ("formFactor", "screenEmulation", "emulatedUserAgent", "throttlingMethod", "throttling")


@pytest.fixture
def marks(lighthouse_program, chromium_program, tmp_path):
    """Have an address marked as on a device; give the scores of the categories, and the audits."""

    def marks(url, device):
        def run(*words):
            done = subprocess.run(
                [lighthouse_program, url, "--quiet", "--no-enable-error-reporting", *words],
                env={**os.environ, "CHROME_PATH": chromium_program, "HOME": str(tmp_path)},
                cwd=tmp_path, capture_output=True, text=True, check=False, timeout=170,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]

        record, config, report = tmp_path / "record", tmp_path / "config.json", tmp_path / "report.json"
        preset = ["--preset=desktop"] if device == "desktop" else []
        run(f"--gather-mode={record}", "--chrome-flags=--headless=new --no-sandbox", *preset)
        recorded = json.loads((record / "artifacts.json").read_text())
        settings = recorded["settings"]
        settings["throttling"]["cpuSlowdownMultiplier"] *= processor_share(record)
        origin = url.removesuffix("/")
        settings["precomputedLanternData"] = {
            "additionalRttByOrigin": {origin: 0},
            "serverResponseTimeByOrigin": {origin: SERVER_MS},
        }
        (record / "artifacts.json").write_text(json.dumps(recorded))
        given = {name: settings[name] for name in (*DEVICE, "precomputedLanternData")}
        config.write_text(json.dumps({"extends": "lighthouse:default", "settings": given}))
        run(f"--audit-mode={record}", f"--config-path={config}", "--output=json", f"--output-path={report}")
        answer = json.loads(report.read_text())
        return {name: one["score"] for name, one in answer["categories"].items()}, answer["audits"]

    return marks


def processor_share(record):
    """Of the time that tasks of the page's main thread took by the clock, the part in which they had a processor."""
    events = json.loads((record / "defaultPass.trace.json").read_text())["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [event for event in events if event["name"] == "RunTask" and (event["pid"], event["tid"]) in threads]
    timed = [task for task in tasks if "tdur" in task]
    return sum(task["tdur"] for task in timed) / sum(task["dur"] for task in timed)


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_marks_of_the_page(marks, factory, device):
    scores, audits = marks(f"{factory}/", device)
    short = {name: audit["displayValue"] for name, audit in audits.items() if audit.get("displayValue")}
    assert set(scores) == {"performance", "accessibility", "best-practices", "seo"}
    assert min(scores.values()) >= SCORE_MIN, (scores, short)
    assert audits["cumulative-layout-shift"]["numericValue"] < SHIFT_MAX
