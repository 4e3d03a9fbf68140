"""`tailtrace report --month`, as a user types it."""

import json
import random
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.store.sqlite.store import SqliteStore

EXAMPLE = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "report_example.py"))
OCTOBER = ["report", "--month", "2025-10"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TAILTRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TAILTRACE_TIMEZONE", "Europe/Madrid")
    store = SqliteStore(tmp_path / "tailtrace.db")
    store.write(list(EXAMPLE["rows"](random.Random(2025)))[:5000])
    store.close()
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_table(run, monkeypatch):
    result = run(*OCTOBER)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "Usage report, October 2025")
    assert "│ Requests" in result.stdout
    assert run(*OCTOBER, "--lang", "es").stdout.startswith("Informe de uso, octubre de 2025\n")
    monkeypatch.setenv("TAILTRACE_LANG", "es")
    assert run(*OCTOBER).stdout.startswith("Informe de uso, octubre de 2025\n")


def test_json(run):
    answer = json.loads(run(*OCTOBER, "--json").stdout)
    assert (answer["month"], answer["days"][0]["day"], len(answer["hours"])) == ("2025-10", "2025-10-01", 7)
    assert answer["now"]["requests"] == sum(day["requests"] for day in answer["days"]) > 0


def test_html(run, tmp_path):
    result = run(*OCTOBER, "--html", "report.html", "--lang", "es")
    assert (result.exit_code, result.stdout) == (0, "wrote report.html\n")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith('<!doctype html>\n<html lang="es">')


@pytest.mark.pdf
def test_both_files_and_nothing_else_is_said(run, tmp_path):
    result = run(*OCTOBER, "--html", "report.html", "--pdf", "report.pdf")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "wrote report.pdf\nwrote report.html\n", "")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-1.7")
    assert (tmp_path / "report.html").is_file()


@pytest.mark.pdf
def test_names_without_a_font_are_told(run, monkeypatch):
    from tailtrace_api.monthly import report

    monkeypatch.setattr(report, "make_pdf", lambda html: report_pdf(html, missing="\u1234\U0010fffd"))
    result = run(*OCTOBER, "--pdf", "report.pdf")
    assert result.exit_code == 0
    assert (
        "no font here has 2 of the characters in names, they are boxes in the PDF: ሴ (U+1234) \U0010fffd (U+10FFFD)."
        in result.stderr
    )
    assert "apt install fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji" in result.stderr


def report_pdf(html, missing):
    from tailtrace_api.monthly.pdf import Pdf

    return Pdf(b"%PDF-", missing, pages=1, last_fill=1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--month", "2025-13", "--pdf", "a.pdf"], "--month: '2025-13' is no month: write one like 2025-10"),
        (["--month", "2098-01"], "2098-01 has not begun in Europe/Madrid"),
        (["--pdf", "a.pdf"], "add --month"),
        (["--html", "a.html", "--days", "3"], "add --month"),
        (["--month", "2025-10", "--days", "3"], "give --month, or --hours, --days, --at, filters and --sort, not both"),
        (["--month", "2025-10", "--at", "2025-10-08T15:00:00Z"], "not both"),
        (["--month", "2025-10", "--lang", "fr"], "'--lang': Value error, 'fr' is not one of 'en', 'es'"),
    ],
)
def test_wrong_use(run, tmp_path, words, said):
    result = run("report", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "a.pdf").exists()


def test_without_the_extra(run, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "weasyprint", None)
    result = run(*OCTOBER, "--pdf", "a.pdf")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install 'tailtrace[pdf]'" in result.stderr
    assert not (tmp_path / "a.pdf").exists()


def test_a_folder_that_is_not_there(run):
    result = run(*OCTOBER, "--html", "no/such/report.html")
    assert result.exit_code == 1
    assert "cannot write no/such/report.html: No such file or directory" in result.stderr
