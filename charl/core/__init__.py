"""Floor 0: settings, dtypes, shapes, errors, and inference for the hot path."""
