"""What a running proxy does with an installed rule set: keep it fresh, look requests up."""
