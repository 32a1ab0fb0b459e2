"""The subcommands of `inkgate-rules`, each imported when it is asked for."""
