"""Exceptions. User mistakes are TypeError, ValueError, IndexError at the call; these are the rest."""

REPORT = "the project's issue tracker"


class CharlError(Exception):
    """Base class of charl's own exceptions."""


class InternalError(CharlError):
    """A broken invariant of charl itself. Carries the printed IR and where to report it."""

    def __init__(self, what: str, ir: object = None):
        text = f"{what}\nThis is a bug in charl; please report it to {REPORT}"
        super().__init__(text if ir is None else f"{text} with this text:\n{ir}")


class ValueNeeded(InternalError):
    """A value was asked for while a function ran on operands without any, to record what it composes."""


class BackendUnavailable(CharlError):
    """A backend cannot run on this machine; the message says what is missing and how to get it."""


class DeviceLost(CharlError):
    """A GPU is gone, and with it what was on it; the message says why and how to go on."""
