"""The table of all conditions under which inkgate protects less than it should.

One line a condition: it gives the dated log line, the counter, the row in `inkgate status`
and the row in docs/what-happens-when.md. A condition that is not here cannot be reported,
and a test asks of each one here for a test that provokes it.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Severity = Literal["warning", "critical"]
"""As monitoring plug-ins have it: exit status 1 and 2 of `inkgate status`."""


class Condition(NamedTuple):
    """One way to protect less.

    Attributes:
        name: of the counter, and in the log line.
        severity: what `inkgate status` makes of it while it lasts or was seen lately.
        meaning: what it means for requests, in one sentence.
        remedy: what an operator does about it.
    """

    name: str
    severity: Severity
    meaning: str
    remedy: str


CONDITIONS: Final[tuple[Condition, ...]] = (
    Condition(
        "no-rules",
        "critical",
        "no rule set could be opened: `fail` answers every request",
        "run inkgate-rules refresh, or install a pack; the log says why none opens",
    ),
    Condition(
        "rules-not-opened",
        "critical",
        "a newer rule set could not be opened: the old one stays in use",
        "the log names the file and the reason; often a mode or an owner",
    ),
    Condition(
        "rules-old",
        "warning",
        "the rule set in use is older than warn_age_days",
        "see why no refresh came: inkgate status, and the log of the timer",
    ),
    Condition(
        "rules-expired",
        "critical",
        "the rule set in use is past the expiry that its publisher gave it",
        "refresh, or ask the publisher for a newer pack",
    ),
    Condition(
        "rule-damaged",
        "critical",
        "a rule that a request met is damaged: `fail` answered it",
        "run inkgate-rules refresh, which makes a new generation",
    ),
    Condition(
        "queue-full",
        "warning",
        "more requests waited than [helper] pending allows: `fail` answered the rest",
        "raise [helper] pending or workers, or find who floods the proxy",
    ),
    Condition(
        "deadline-passed",
        "warning",
        "a request waited longer than [helper] deadline_seconds: `fail` answered it",
        "raise [helper] workers; see whether other processes take the processors",
    ),
    Condition(
        "lookup-failed",
        "critical",
        "a look-up ended with an error of inkgate's own: `fail` answered the request",
        "report the line in the log to inkgate's developers",
    ),
    Condition(
        "settings-refused",
        "critical",
        "the settings file cannot be used: the helper runs with defaults",
        "correct the key that the log names",
    ),
    Condition(
        "key-cache-failed",
        "warning",
        "the key cache cannot be used: every new name costs a derivation in each process",
        "see that the folder of [rules] key_cache belongs to Squid's user and has room",
    ),
    Condition(
        "journal-failed",
        "warning",
        "the journal cannot be written: incidents wait in memory",
        "see that the folder of [sightings] journal belongs to Squid's user and has room",
    ),
    Condition(
        "incidents-lost",
        "critical",
        "more incidents waited for the journal than memory allows: the oldest were dropped",
        "mend the journal's folder or disk",
    ),
    Condition(
        "helper-not-started",
        "critical",
        "the helper could not start: the launcher answers every request as `fail` says",
        "the log has the helper's own words; often a changed Python or a removed package",
    ),
    Condition(
        "helper-died",
        "critical",
        "a helper ended while requests waited: Squid answered them with 403",
        "report the lines before it in cache.log to inkgate's developers",
    ),
    Condition(
        "refresh-failed",
        "critical",
        "the last refresh changed nothing because of an error",
        "its own line says what; run inkgate-rules refresh by hand",
    ),
    Condition(
        "source-not-read",
        "warning",
        "a source could not be read: its last good reading counts",
        "the line names the source and the reason",
    ),
    Condition(
        "canary-failed",
        "critical",
        "a request that must be blocked was not blocked by this proxy",
        "run inkgate squid check: it names the reason",
    ),
)

NAMES: Final = tuple(condition.name for condition in CONDITIONS)
BY_NAME: Final = {condition.name: condition for condition in CONDITIONS}
