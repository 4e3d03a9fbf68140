import pytest

from tailtrace_bridge.core.retry_after import read_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 3 ", 3.0),
        ("999999", 3600.0),
        ("9" * 5000, 3600.0),
        ("-1", None),
        ("\u0663", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:13:25 GMT", 5.0),
        ("Tue, 14 Nov 2023 22:13:25 -0000", 5.0),
        ("Tue, 14 Nov 2023 23:13:25 +0100", 5.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Tue, 14 Nov 2099 22:00:00 GMT", 3600.0),
    ],
)
def test_seconds_from_now(value, seconds):
    assert read_retry_after(value, 1_700_000_000_000_000) == seconds


def test_no_longer_than_the_caller_wants():
    assert read_retry_after("600", 0, 120.0) == 120.0
