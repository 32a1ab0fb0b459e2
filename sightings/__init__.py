"""Sightings: what was matched, when, by whom it was asked for."""
