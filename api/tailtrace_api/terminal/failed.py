"""What a command says where it fails, and how it ends: exit 1 failed, 2 wrong use."""

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
    return None
