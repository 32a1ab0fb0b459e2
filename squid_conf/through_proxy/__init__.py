"""The check through the proxy: whether what is listed is refused before a server is asked.

In: the settings, squid.conf's lines, a client's view of the proxy. Out: findings, one line
each with its remedy.

What must hold: each request is bounded in size and time; nothing but canaries, their
neighbours and this machine's own addresses is asked for; user and password of the proxy are
in no finding. How squid.conf is put right is not known here.
"""
