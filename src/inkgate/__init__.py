"""Block in Squid what MISP knows to be malicious, from rules that only an observed value opens."""
