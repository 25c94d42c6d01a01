"""Side wing: memory, threads and machine code. Imports floor 0 alone."""
