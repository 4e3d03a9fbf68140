"""A module that loads at its first use."""

import sys
import threading

import pytest

from tailtrace_bridge.core.lazy_module import load_later

NAME = "loaded_late_for_a_test"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A module that appends to a list of the builtins each time it runs."""
    (tmp_path / f"{NAME}.py").write_text(f"import sys\nsys.{NAME}.append(__name__)\nvalue = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, NAME, [], raising=False)
    yield getattr(sys, NAME)
    sys.modules.pop(NAME, None)


def test_it_runs_at_the_first_use_and_once(written):
    load_later(NAME)
    module = __import__(NAME)
    __import__(NAME)
    assert written == []
    assert module.value == 7
    assert (module.value, written) == (7, [NAME])


def test_what_it_has_not_is_missed_as_ever(written):
    load_later(NAME)
    with pytest.raises(ImportError, match="other"):
        exec(f"from {NAME} import other")
    assert written == [NAME]


def test_what_is_given_beforehand_loads_nothing_when_it_is_imported(written):
    load_later(NAME)
    vars(sys.modules[NAME]).update(value=8)
    found = {}
    exec(f"from {NAME} import value", found)
    assert (found["value"], written) == (8, [])


def test_one_that_is_loaded_stays_and_one_that_is_not_there_stays_missing(written):
    module = __import__(NAME)
    load_later(NAME)
    assert sys.modules[NAME] is module
    assert written == [NAME]
    load_later("never_heard_of")
    assert "never_heard_of" not in sys.modules


def test_a_module_asks_for_what_it_has_not_yet_while_it_loads(tmp_path, monkeypatch, written):
    (tmp_path / f"{NAME}.py").write_text(f"import {NAME}\nearly = hasattr({NAME}, 'value')\nvalue = 7\n")
    load_later(NAME)
    module = __import__(NAME)
    assert (module.value, module.early) == (7, False)


def test_a_module_may_have_a_getattr_of_its_own(tmp_path, written):
    (tmp_path / f"{NAME}.py").write_text("value = 7\ndef __getattr__(name):\n    return name.upper()\n")
    load_later(NAME)
    module = __import__(NAME)
    assert (module.other, module.value) == ("OTHER", 7)


def test_two_threads_that_ask_at_once_get_the_same(tmp_path, written):
    waits = f"import sys, time\nsys.{NAME}.append(1)\ntime.sleep(0.2)\nvalue = 7\n"
    (tmp_path / f"{NAME}.py").write_text(waits)
    load_later(NAME)
    module, found = __import__(NAME), []
    threads = [threading.Thread(target=lambda: found.append(module.value)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, written) == ([7] * 5, [1])
