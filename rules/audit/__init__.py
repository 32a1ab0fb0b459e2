"""What a rule set resists: costs here, costs to an attacker, and a real attack on it."""
