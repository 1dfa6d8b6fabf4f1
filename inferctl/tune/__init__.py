"""`inferctl tune`: find settings under which a model carries more within a limit on latency.

Candidates are served by real processes and measured in an open loop; see docs/tune.md.
"""
