"""Matching what was logged: log formats, inputs, queues, all cores."""
