"""What a command says where it fails, and how it ends: exit 1 failed, 2 wrong use."""

import errno

from tailtrace_api.terminal.console import lines, note
from tailtrace_bridge.core.errors import BridgeError, FormatError, IdentityError, SettingsError

WRONG_USE = (SettingsError, FormatError, IdentityError)
"""What a user wrote is wrong: trying again does not help."""


def exit_status(error: Exception) -> int | None:
    """Say an error that is no defect, and return the exit status; None: it is a defect, whose traceback helps."""
    if isinstance(error, BridgeError):
        note(f"tailtrace: {lines(error)}", "red")
        return 2 if isinstance(error, WRONG_USE) else 1
    if isinstance(error, PermissionError):
        said = f"{error.filename}: {error.strerror}; run tailtrace as a user who may, or mend its mode or its folder's"
        note(f"tailtrace: {lines(said)}", "red")
        return 1
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        note(f"tailtrace: {lines(f'{error.filename}: {error.strerror}; choose a shorter one')}", "red")
        return 1
    if isinstance(error, UnicodeEncodeError) and _is_no_utf8(error.object[error.start : error.end]):
        note(f"tailtrace: {lines(error.object)} is no UTF-8; write it in UTF-8", "red")
        return 2
    return None


def _is_no_utf8(text: str) -> bool:
    """Whether this is what Python makes of bytes in an argument (PEP 383), which no store can hold."""
    return all("\udc80" <= character <= "\udcff" for character in text)
