"""The settings file and its section `[rules]`, as all subcommands of `inkgate-rules` get it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from inkgate.config.settings_file import load_section
from inkgate.rules.paths import RulesPaths, rules_paths
from inkgate.rules.settings import RulesSettings


class Settings:
    """The settings file; read when a command needs it, so that --help needs none."""

    def __init__(self, config: Path) -> None:
        self.config = config

    @cached_property
    def rules(self) -> RulesSettings:
        """Section `[rules]`."""
        return load_section(self.config, "rules", RulesSettings)

    @cached_property
    def paths(self) -> RulesPaths:
        """The section's paths."""
        return rules_paths(self.config, self.rules)
