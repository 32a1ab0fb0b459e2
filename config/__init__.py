"""The ground that all other packages stand on; it knows nothing of rules and sightings.

In: a path, the name of a section of inkgate.toml, the structure that the section must
have. Out: settings that were checked as a whole, errors of one line, files that are
there whole or not at all, processes that end with their parent.

What must hold: an unknown key is an error and no default; nobody ever reads half of a
file; the text of an error holds no secret. What a section means is not known here: its
structure lies in the package that the section is for.
"""
