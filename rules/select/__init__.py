"""Which attributes become rules: selection, allow list, warninglists, ages, actions.

In: attributes, the settings. Out: records in the spool, by partition, and a report of
what was left out and why.

What must hold: the allow list always wins; the same attribute is judged alike in every
process; a reason never holds a value, since the report may be read by people who may
not read the indicators. Tokens, keys and packs are not known here; the spool holds
clear indicators and is removed when the refresh ends.
"""
