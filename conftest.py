"""At the root, so that pytest takes this folder as its root whatever file is named on its command
line.
"""

collect_ignore = ["build", "setup.py"]
