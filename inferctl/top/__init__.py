"""`inferctl top`: what a running service does, read from its /metrics and /health.

A scrape becomes a reading, two readings become figures, figures are drawn. It needs nothing that
serves, and works over the network.
"""

from inferctl.top.loop import watch
from inferctl.top.once import Plan, document, look
from inferctl.top.view import Screen

__all__ = ["Plan", "Screen", "document", "look", "watch"]
