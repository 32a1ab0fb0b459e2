"""The command `inkgate`: whether this machine blocks, and what stands in the way.

It asks what the other rooms leave on this machine and puts Squid's side in place; it takes
no part in any verdict. Nothing here is imported by what answers requests.
"""
