"""The subcommands of `inkgate-rules`, each imported when it is asked for.

In come the words of a command line and the settings file, of which a command reads
`[rules]` when it needs it; out go lines for people or JSON, and an exit status.
`inkgate.rules.cli` lists the subcommands by name. One whose role needs an extra checks
for its libraries before it does anything, and shows its help without them.

What must hold: `installed`, which a proxy runs, imports nothing of the publisher's.
"""
