"""Block in Squid what MISP knows to be malicious, from rules that only an observed value opens.

Two flows run through the package (docs/architecture.md). A publisher turns MISP's
attributes into a signed pack of encrypted rules (`rules`). A proxy installs the pack; its
front ends (`helper`, `icap_server`) turn each request into a verdict, and a match into a
sighting, which MISP is told (`sightings`).

Imports go from the commands down to `config` and never upwards, and a front end imports
nothing of the publisher's: both are contracts in pyproject.toml. The folders themselves
lie at the top of the repository; here are links to them (docs/decisions/0100).
"""
