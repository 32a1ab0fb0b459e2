"""The processes of inkgate-icap: one supervisor, its workers, and what they tell each other.

In: the settings, signals. Out: workers that serve on sockets which the supervisor
opened; what they say through pipes and locks (ready or why not, room or none).

What must hold: workers are replaced only by workers that serve; a worker ends with its
supervisor; no message between them can go stale, since pipes and locks end with their
process. ICAP, rules and verdicts are not known here.
"""
