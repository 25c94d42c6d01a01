"""charl."""
