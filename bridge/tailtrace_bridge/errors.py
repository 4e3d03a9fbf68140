"""The tree of errors that the bridge raises. Each message says what is wrong, where, and what to do.

BridgeError
├── FormatError      a `log_format` string that cannot be compiled (the setting's fault)
├── LogFileError     a log that cannot be read (the machine's fault; the tail goes on when it is mended)
├── SettingsError    a setting that is missing or wrong (the user's fault)
├── IdentityError    a static identity file that does not parse
├── StoreError       the store refused or is out of reach
└── OtlpError        an OTLP request that is not one; carries the HTTP status to answer
"""


class BridgeError(Exception):
    """Whatever the bridge raises on purpose."""


class FormatError(BridgeError):
    """A `log_format` string that no parser can be made of."""


class LogFileError(BridgeError):
    """A log file that cannot be read."""


class SettingsError(BridgeError):
    """A setting that is missing, unknown or out of its range."""


class IdentityError(BridgeError):
    """A static identity file that cannot be used."""


class StoreError(BridgeError):
    """The store cannot do what was asked."""


class OtlpError(BridgeError):
    """An OTLP request that cannot be taken.

    `status` is the HTTP status the protocol asks for: https://opentelemetry.io/docs/specs/otlp/#failures
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
