"""Where the journal of several proxies comes together: a table of back-ends, a room of each."""
