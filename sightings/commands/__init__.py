"""The command `inkgate-sightings`: options in, lines or JSON out.

Here are words, columns and exit statuses; what is done lies in `journal`, `report`,
`export` and `aggregation`. What must hold: `--help` works without a settings file and
without extras, and a subcommand is imported only when it is asked for (`cli` lists them
by name); texts from the network are made printable before a terminal sees them; what an
operator can mend ends in one line and status 2.
"""
