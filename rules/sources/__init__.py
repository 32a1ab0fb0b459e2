"""Where indicators come from: MISP event files and CSV exports, all as plain attributes."""
