"""Sightings added up across organisations without telling on anyone (docs/aggregation.md)."""
