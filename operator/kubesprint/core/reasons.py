"""The vocabulary: every reason that a decision, a refusal or an outcome can have."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a job sprints, does not, or stopped; the same word in events, files, metrics and docs."""

    # a sprint starts or goes on
    TRIGGER_REACHED = "TriggerReached"  # the job's trigger instant has passed and the bucket allows it
    DEADLINE_AT_RISK = "DeadlineAtRisk"  # at base speed the deadline would be missed
    # no sprint
    NEVER = "Never"  # the strategy never sprints
    BEFORE_TRIGGER = "BeforeTrigger"  # the trigger instant is still to come
    BUDGET_SHORT = "BudgetShort"  # the bucket does not hold the threshold yet
    BUDGET_EXHAUSTED = "BudgetExhausted"  # the bucket ran empty during the sprint
    ON_TIME = "OnTime"  # the deadline is met at base speed
    CANNOT_MEET_DEADLINE = "CannotMeetDeadline"  # not even sprinting all the way meets the deadline
    UNTRUSTED = "Untrusted"  # no profile, too few finished jobs, or a stale signal
    STALE = "Stale"  # the signal that the decision needs is too old
    NOT_SELECTED = "NotSelected"  # the policy's selector does not match the job
    NO_KEEPER = "NoKeeper"  # nobody holds the knobs, so nothing may be raised
    NOT_SYNCED = "NotSynced"  # the inventory is incomplete
    PAUSED = "Paused"
    STOPPING = "Stopping"  # the run is being ended
    JOURNAL_UNWRITABLE = "JournalUnwritable"  # nothing may change that could not be put back
    MODE_OBSERVE = "ModeObserve"  # Observe and Recommend act on nothing
    MODE_RECOMMEND = "ModeRecommend"
    FINISHED = "Finished"
    # what became of a write
    APPLIED = "Applied"
    CLAMPED = "Clamped"  # the machine gave less than asked
    REJECTED = "Rejected"  # the kernel said no
    UNSUPPORTED = "Unsupported"
    CONFLICT = "Conflict"  # the knob was changed by somebody else
    STALE_EPOCH = "StaleEpoch"
    LEASE_ENDED = "LeaseEnded"
