"""Agents, waiting lines and offers: what the routing service decides. Pure."""
