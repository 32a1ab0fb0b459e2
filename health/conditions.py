"""The table of all conditions under which inkgate protects less than it should.

One line a condition: it gives the dated log line, the counter, the row in `inkgate status`
and the row in docs/what-happens-when.md. A condition that is not here cannot be reported,
and a test asks of each one here for a test that provokes it.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Severity = Literal["notice", "warning", "critical"]
"""As monitoring plug-ins have it: exit status 0, 1 and 2 of `inkgate status`. A notice is
counted and logged; it is what the settings ask for, and daily traffic brings it."""


class Condition(NamedTuple):
    """One way to protect less.

    Attributes:
        name: of the counter, and in the log line.
        severity: what `inkgate status` makes of it while it lasts or was met lately.
        lasts: whether it goes on until it is over; else each time stands for itself.
        meaning: what it means for requests, in one sentence.
        remedy: what an operator does about it.
    """

    name: str
    severity: Severity
    lasts: bool
    meaning: str
    remedy: str


CONDITIONS: Final[tuple[Condition, ...]] = (
    Condition(
        "no-rules",
        "critical",
        True,
        "no rule set can be opened: `fail` answers every request",
        "run inkgate-rules refresh, or install a pack; the log says why none opens",
    ),
    Condition(
        "rules-not-opened",
        "critical",
        True,
        "a newer rule set cannot be opened: the old one stays in use",
        "the log names the file and the reason; often a mode or an owner",
    ),
    Condition(
        "rules-old",
        "warning",
        True,
        "the rule set in use is older than warn_age_days",
        "see why no refresh came: inkgate status, and the log of the timer",
    ),
    Condition(
        "rules-expired",
        "critical",
        True,
        "the rule set in use is past the expiry that its publisher gave it",
        "refresh, or ask the publisher for a newer pack",
    ),
    Condition(
        "rules-from-the-future",
        "warning",
        True,
        "the rule set in use is dated more than a day ahead: its age and expiry mean nothing",
        "see that this machine's and the publisher's clocks are right, then refresh, or install "
        "a new pack",
    ),
    Condition(
        "clock-jumped",
        "warning",
        True,
        "the clock was set by more than a day: ages go by the time since the start",
        "see that the clock is right (timedatectl); if it is, remove clock.json in the folder "
        "that [health] names, and restart Squid and inkgate-icap",
    ),
    Condition(
        "rule-damaged",
        "critical",
        False,
        "a rule that a request met is damaged: `fail` answered it",
        "run inkgate-rules refresh, or install the pack again: both make a new generation",
    ),
    Condition(
        "queue-full",
        "critical",
        False,
        "more requests waited than [helper] pending allows: `fail` answered the rest",
        "raise [helper] pending or workers, or find who floods the proxy",
    ),
    Condition(
        "client-share-used-up",
        "warning",
        False,
        "all requests that may wait do, many of them of one client: `fail` answered some of its",
        "find the client that asks for so many new names or addresses (access.log), or raise "
        "[helper] pending and pending_mib, or [icap] connections",
    ),
    Condition(
        "deadline-passed",
        "critical",
        False,
        "a request waited longer than deadline_seconds ([helper], [icap]): `fail` answered it",
        "raise [helper] workers, or [icap] derive_threads, if processors are free; see whether "
        "other processes take them",
    ),
    Condition(
        "late-match",
        "critical",
        False,
        "a listed request was answered by `fail` before its match was found",
        "raise [helper] workers; see whether other processes take the processors",
    ),
    Condition(
        "lookup-failed",
        "critical",
        False,
        "a look-up ended with an error of inkgate's own: `fail` answered the request",
        "report the line in the log to inkgate's developers",
    ),
    Condition(
        "squid-bypassed",
        "critical",
        False,
        "Squid got no answer of the ICAP server, and let messages pass (bypass=on)",
        'see that inkgate-icap runs and what it says; [icap] fail = "closed" lets nothing pass',
    ),
    Condition(
        "line-refused",
        "critical",
        False,
        "Squid sent a line that is not of inkgate's format, or longer than 256 KiB: `fail` "
        "answered it",
        "write the lines for squid.conf anew (inkgate squid install)",
    ),
    Condition(
        "settings-refused",
        "critical",
        True,
        "a section of the settings cannot be used: defaults stand in for it",
        "correct that key: helpers begin anew with it, ICAP needs SIGHUP",
    ),
    Condition(
        "section-unknown",
        "warning",
        True,
        "the settings file has a section that nobody knows: what stands in it does not count",
        "correct its name (the line names the nearest one): helpers begin anew with it",
    ),
    Condition(
        "key-cache-failed",
        "warning",
        True,
        "the key cache cannot be used: every new name costs a derivation in each process",
        "see that the folder of [rules] key_cache belongs to Squid's user and has room",
    ),
    Condition(
        "verdicts-not-shared",
        "warning",
        True,
        "verdicts on replies cannot be kept for other processes: each knows only its own",
        "see that the folder of [rules] key_cache belongs to Squid's user and has room",
    ),
    Condition(
        "verdicts-moved",
        "warning",
        False,
        "the file of remembered verdicts was moved or deleted: it begins anew, empty",
        "do not touch the file verdicts in the folder of [rules] key_cache",
    ),
    Condition(
        "verdicts-pushed-out",
        "warning",
        False,
        "more verdicts on replies are to be remembered than there is room: old ones give way",
        "find who meets so many listed addresses or files: inkgate-sightings list",
    ),
    Condition(
        "journal-failed",
        "critical",
        True,
        "the journal cannot be written: incidents wait in memory",
        "see that the folder of [sightings] journal and the files in it belong to Squid's user, "
        "and that there is room; inkgate-icap runs as Squid's user, not as root",
    ),
    Condition(
        "journal-moved",
        "warning",
        False,
        "the journal was moved, deleted or cut off while it was in use: it is opened anew",
        "to take a copy, use inkgate-sightings list, or SQLite's .backup; do not move the file",
    ),
    Condition(
        "journal-cut",
        "critical",
        False,
        "the journal is larger than hard_mib: its oldest incidents are removed, reported or not",
        "see that inkgate-sightings report or prune runs by its timer, or raise hard_mib",
    ),
    Condition(
        "incident-lost",
        "critical",
        False,
        "an incident is in no journal, although its request was blocked",
        "the log says why; often the journal's folder or disk",
    ),
    Condition(
        "clients-not-journalled",
        "warning",
        True,
        "incidents are journalled without their client: the key of client addresses is missing",
        "run inkgate-sightings keygen, or see who may read [sightings] clients_key_file; then "
        "squid -k reconfigure, and restart inkgate-icap",
    ),
    Condition(
        "export-waits",
        "warning",
        True,
        "an export cannot be written, or its server takes nothing: records wait in the journal",
        "the line names the file or the server, and why; what waits is kept up to hard_mib",
    ),
    Condition(
        "export-refused",
        "warning",
        False,
        "a TAXII server did not take a sighting: it is not sent again until its count grows",
        "the line has its id and what the server says of it; see the server's own log",
    ),
    Condition(
        "export-lost",
        "critical",
        False,
        "records were removed from the journal before an export had them",
        "see why the export waited for so long, or raise hard_mib",
    ),
    Condition(
        "process-died",
        "critical",
        False,
        "a process was killed or broke off; what Squid had asked a helper is answered with 403",
        "report the lines before it in the log to inkgate's developers; often too little memory",
    ),
    Condition(
        "counters-moved",
        "warning",
        False,
        "the file that a process counts in was removed or cut off while in use: it is made again",
        "leave the folder that [health] names alone while processes run",
    ),
    Condition(
        "helper-not-started",
        "critical",
        True,
        "the helper cannot start: the launcher answers every request as `fail` says",
        "the log has the helper's own words; often a changed Python or a removed package",
    ),
    Condition(
        "worker-not-started",
        "critical",
        True,
        "an ICAP worker ended, and the system has no room for another: fewer serve, or none",
        "see which limit is reached: TasksMax, LimitNOFILE, memory; it is tried every second",
    ),
    Condition(
        "connections-limited",
        "warning",
        True,
        "an ICAP worker takes fewer connections than [icap] connections says",
        "raise LimitNOFILE (ulimit -Hn), or lower [icap] connections",
    ),
    Condition(
        "connections-used-up",
        "critical",
        False,
        "all ICAP connections that are allowed are in use: what comes more waits, or is refused",
        "raise [icap] connections or LimitNOFILE, or find who holds them (ss -tnp)",
    ),
    Condition(
        "client-responses-used-up",
        "warning",
        False,
        "a client had more responses under way than [icap] client_responses, or than were still "
        "free: others were refused to it",
        "find who holds so many downloads; raise the setting where one address stands for many",
    ),
    Condition(
        "download-given-up",
        "warning",
        False,
        "a client took a download so slowly that it was broken off",
        "raise [icap] backlog_mib, or find who holds downloads open",
    ),
    Condition(
        "peer-refused",
        "warning",
        False,
        "a peer that is not among [icap] allow or allow_users connected: it was refused",
        "add the proxy's address to [icap] allow, or its user to allow_users, or find out who "
        "that is",
    ),
    Condition(
        "worker-stalled",
        "critical",
        False,
        "an ICAP worker did not run for a while: the proxy's own `fail` answered meanwhile",
        "find out who stops it, or whether memory (swap) or processors are short",
    ),
    Condition(
        "message-failed",
        "critical",
        False,
        "an ICAP message ended with an error of inkgate's own",
        "report the line in the log to inkgate's developers",
    ),
    Condition(
        "body-unchecked",
        "warning",
        False,
        "a body could not be checked and passed, as [icap] unchecked = pass says",
        "see why in the log; raise [icap] body_mib or ratio, or set unchecked = block",
    ),
    Condition(
        "part-unchecked",
        "notice",
        False,
        "a part of a file (206) passed without a digest, as [icap] unchecked = pass says",
        "where no listed file may come in parts, set [icap] unchecked = block",
    ),
    Condition(
        "settings-not-taken",
        "warning",
        True,
        "new settings cannot be used: processes that run go on with the old ones",
        "mend what the log names; helpers take it then, and inkgate-icap after another SIGHUP",
    ),
    Condition(
        "settings-waiting",
        "warning",
        True,
        "the ICAP server goes on with settings that are not those of the files by now",
        "send SIGHUP to inkgate-icap (systemctl reload inkgate-icap), or undo the change",
    ),
)

NAMES: Final = tuple(condition.name for condition in CONDITIONS)
BY_NAME: Final = {condition.name: condition for condition in CONDITIONS}
