"""The verbs: each module is one stage, a program of its own, `python -m stages.<name> <plan
file>`.
"""

import gc
import sys

if sys.argv[0] == "-m":  # Python is on its way to the stage itself: nothing is imported yet
    gc.disable()  # nothing of the modules that now load is garbage; `cli.run` enables it again
