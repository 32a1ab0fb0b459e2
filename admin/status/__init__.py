"""`inkgate status`: one row a question, each answered from what lies on this machine.

A row says what is, how bad that is, and what to do. Rows stand in one table (`rows`); a
row that cannot be answered says so and why: it never counts as good.
"""
