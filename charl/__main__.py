"""python -m charl: the same as the command `charl`."""

import sys

from charl.cli import main

if __name__ == "__main__":
    sys.exit(main())
