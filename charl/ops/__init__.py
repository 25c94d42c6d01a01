"""Floor 1: every op, declared once. Pure Python without numpy, so that setup.py can load it by path."""
