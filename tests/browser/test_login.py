"""A login link in a real browser: the page shows a button, the button logs in, the page says who one is and logs out."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.chromium, pytest.mark.long]


@pytest.fixture
def login(tmp_path, serving, filled):
    """The address of an API that only a token opens, and what makes links for it."""
    environment = {"TAILTRACE_ACCESS": "token", "TAILTRACE_CHECKPOINT": str(tmp_path / "checkpoint.json")}

    def tailtrace(*words):
        command = [sys.executable, "-m", "tailtrace_api.main", "token", *words]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TAILTRACE_")}
        done = subprocess.run(
            command, env={**kept, **environment}, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    filled(tmp_path, 2)
    tailtrace("create", "ana", "--role", "member", "--user", "ana@factory.example")
    with serving(tmp_path, **environment) as url:
        environment["TAILTRACE_PUBLIC_URL"] = url
        yield url, tailtrace


def test_in_and_out(login, open_page):
    url, tailtrace = login
    link = tailtrace("link", "ana")
    asked = []
    page = open_page(link, ready="#log-in:not([hidden])")
    page.on("request", lambda request: asked.append(request.url))
    page.click("#log-in")
    page.wait_for_url(f"{url}/")
    page.wait_for_selector("#log-out:not([hidden])")
    assert page.inner_text("#me-name") == "ana@factory.example"
    page.wait_for_selector("#totals .figure")
    assert asked != []
    assert [one for one in asked if "ttl_" in one] == []  # not in a log on the way, nor in ours
    page.go_back()
    assert "ttl_" not in page.url
    page.goto(url)
    page.click("#log-out")
    page.wait_for_url(f"{url}/login")
    page.wait_for_selector("#said:has-text('You are not logged in')")
    page.goto(f"{url}/session")
    assert "send a token" in page.content()
    page.said.clear()  # the 401, and questions that the logout overtook


def test_a_link_that_is_used_up(login, open_page):
    url, tailtrace = login
    link = tailtrace("link", "ana")
    ready = "#log-in:not([hidden])"
    first, second = (open_page(link, ready=ready, locale=locale) for locale in ("en-GB", "es-ES"))
    first.click("#log-in")
    first.wait_for_url(f"{url}/")
    second.click("#log-in")
    second.wait_for_selector("#said:has-text('ya se usó')")
    assert second.is_hidden("#log-in")
    for page in (first, second):
        page.said.clear()  # the 401
