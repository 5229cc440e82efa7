"""The error tree.

BlueprintError              everything this package raises on purpose; carries a hint that says what to do
├── InputError              what the user gave is broken or missing
├── SettingsError           a setting is unknown, malformed or contradicts another
├── BackendError            a named backend is unknown or cannot run here
├── InfeasibleError         nothing is broken, but what was asked for cannot be done in this scene
├── IntegrityError          a file is not what its receipt says
├── BusyError               another process is writing this scene
└── TransientError          may succeed when tried again; the only error that is retried
"""

from __future__ import annotations


class BlueprintError(Exception):
    """Base of all deliberate errors: `message` says what is wrong, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)  # both in args, so the error survives a trip between processes
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class InputError(BlueprintError):
    """What the user gave is broken or missing."""


class SettingsError(BlueprintError):
    """A setting is unknown, malformed or contradicts another."""


class BackendError(BlueprintError):
    """A named backend is unknown or cannot run here."""


class InfeasibleError(BlueprintError):
    """Nothing is broken, but what was asked for cannot be done in this scene."""


class IntegrityError(BlueprintError):
    """A file is not what its receipt says."""


class BusyError(BlueprintError):
    """Another process is writing this scene."""


class TransientError(BlueprintError):
    """May succeed when tried again; the only error that is retried."""
