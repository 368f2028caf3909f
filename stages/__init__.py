"""The verbs: each module is one stage, a program of its own, `python -m stages.<name>`."""

import gc
import sys

if sys.argv[0] == "-m":  # Python is on its way to the stage itself, of which nothing is imported yet
    from asma import tracking

    tracking.ahead()
    gc.disable()  # while thousands of modules load nothing of them is garbage; `cli.run` turns it on again
