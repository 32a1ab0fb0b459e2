"""Indicators of every kind that a proxy sees, requests that they block, and their neighbours."""

from __future__ import annotations

from support.installation import attribute

LISTED = {
    "url": attribute("url", "hxxp://files[.]example/malware/payload.exe"),
    "query": attribute("url", "http://shop.example/pay?id=1&x=%2F"),
    "domain": attribute("domain", "listed.example"),
    "hostname": attribute("hostname", "login.bank.test"),
    "pair": attribute("domain|ip", "pair.example|198.51.100.23"),
    "address": attribute("ip-dst", "198.51.100.66"),
    "network": attribute("ip-dst", "203.0.113.0/26"),
    "port": attribute("ip-dst|port", "192.0.2.80|8443"),
    "agent": attribute("user-agent", "EvilBot/1.0 (made up; 100%)"),
    "logged": attribute("domain", "context.example", to_ids=False),
}

BLOCKED = [
    ("url", "http://files.example/malware/payload.exe"),
    ("url", "http://FILES.example:80/%6dalware/./x/../payload.exe?y=1#z"),
    ("url", "http://www.files.example//malware/payload%2Eexe"),
    ("query", "http://shop.example/pay?id=1&x=/"),
    ("domain", "http://listed.example/"),
    ("domain", "http://a.b.listed.example/anything?at=all"),
    ("domain", "http://listed.example:8080/"),
    ("hostname", "http://login.bank.test/"),
    ("pair", "http://pair.example/"),
    ("address", "http://198.51.100.66/x"),
    ("address", "http://3325256770/"),
    ("network", "http://203.0.113.63/"),
    ("port", "http://192.0.2.80:8443/"),
]

PASSED = [
    "http://files.example/malware/payload.ex",
    "http://files.example/",
    "http://shop.example/pay?id=2",
    "http://notlisted.example/",
    "http://unlisted.example/listed.example",
    "http://example.example/?listed.example",
    "http://www.login.bank.test/",
    "http://bank.test/",
    "http://203.0.113.64/",
    "http://198.51.100.65/",
    "http://192.0.2.80/",
    "http://context.example/",
]
