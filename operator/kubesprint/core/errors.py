"""The errors of kubesprint, by what can be done about them.

SprintError
├── Refused       the request cannot be granted as it stands; retrying changes nothing
│   └── Gone      what it is about does not exist any more: nothing is left to put back
├── Unavailable   the world said "not now"; hold, or try again later
└── Corrupt       something we wrote ourselves cannot be read back; it is set aside, never guessed

Adapters translate; everything else is a bug and surfaces as itself.
"""


class SprintError(Exception):
    """Base of every error that kubesprint raises on purpose."""


class Refused(SprintError):
    """The request is impossible: the message names what, why, and what would be accepted."""


class Gone(Refused):
    """The process, group or file that the request is about does not exist any more."""


class Unavailable(SprintError):
    """The world said no for now (busy, gone, unreadable): the caller holds or retries."""


class Corrupt(SprintError):
    """A file of our own is damaged: it is set aside and named."""
