"""`python -m neuroframes`, where the command isn't on the path."""

import sys

from neuroframes.cli import main

sys.exit(main())
