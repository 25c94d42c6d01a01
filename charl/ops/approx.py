"""Transcendental functions as expansions over primitives."""
