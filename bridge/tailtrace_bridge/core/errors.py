"""The tree of errors that the bridge raises. Each message says what is wrong, where, and what to do.

BridgeError
├── FormatError      a `log_format` string that cannot be compiled (the setting's fault)
├── LogFileError     a log that cannot be read (the machine's fault; the tail goes on when it is mended)
├── SettingsError    a setting that is missing or wrong (the user's fault)
├── BusyError        a port or a file that another process has, or this user may not have
├── IdentityError    a static identity file that does not parse
├── StoreError       the store refused or is out of reach
│   └── StoreRestoredError  it lacks what it has acknowledged: a backup was put in its place
├── OtlpError        an OTLP request that is not one; carries the HTTP status to answer
└── ControlApiError  Tailscale's or Headscale's control API gave no answer
    ├── BadKeyError              the key is wrong, revoked or expired (the setting's fault)
    │   └── ExpiredKeyError      it worked, or the API says that it expired (time's fault: make a new one)
    ├── MissingScopeError        the key may not read devices (the setting's fault)
    ├── NoSuchTailnetError       there is no such tailnet, or it is not the key's (the setting's fault)
    ├── RateLimitedError         too many calls, perhaps of others with the same key (ours: wait)
    ├── ControlUnavailableError  out of reach, too slow or broken (the network's fault, or the service's)
    └── ControlAnswerError       an answer that is none (the setting's fault: the URL is something else)
"""

from typing import ClassVar


class BridgeError(Exception):
    """Whatever the bridge raises on purpose."""


class FormatError(BridgeError):
    """A `log_format` string that no parser can be made of."""


class LogFileError(BridgeError):
    """A log file that cannot be read."""


class SettingsError(BridgeError):
    """A setting that is missing, unknown or out of its range."""


class BusyError(BridgeError):
    """A port or a file that this process cannot have now."""


class IdentityError(BridgeError):
    """A static identity file that cannot be used."""


class StoreError(BridgeError):
    """The store cannot do what was asked."""


class StoreRestoredError(StoreError):
    """The store lacks writes that it acknowledged: it is one of an earlier time. Nothing was written; try again."""


class OtlpError(BridgeError):
    """An OTLP request that cannot be taken.

    `status` is the HTTP status the protocol asks for: https://opentelemetry.io/docs/specs/otlp/#failures
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ControlApiError(BridgeError):
    """The control API gave no answer. `retry_after_s`: how long it asked us to wait, or None."""

    fault: ClassVar[str] = "service"
    """Who can mend it: `setting`, `network`, `service` or `load`."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadKeyError(ControlApiError):
    """The key or the OAuth client is refused."""

    fault = "setting"


class ExpiredKeyError(BadKeyError):
    """The key was good and is no longer."""


class MissingScopeError(ControlApiError):
    """The key is good, but may not read devices."""

    fault = "setting"


class NoSuchTailnetError(ControlApiError):
    """No such tailnet, or not one of this key."""

    fault = "setting"


class RateLimitedError(ControlApiError):
    """The API asked for fewer calls."""

    fault = "load"


class ControlUnavailableError(ControlApiError):
    """The API is out of reach, too slow or broken; trying again may help."""

    fault = "network"


class ControlAnswerError(ControlApiError):
    """What answers is not the control API, or its answer is too long; trying again does not help."""

    fault = "setting"
