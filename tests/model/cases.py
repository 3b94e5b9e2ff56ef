"""How many examples the tests of the model run. TUNE_MODEL_EXAMPLES: thousands, for a night."""

import os

EXAMPLES = int(os.environ.get("TUNE_MODEL_EXAMPLES", "60"))
"""Of each random test. 60 take a few seconds; what is exhaustive grows with more than that, too."""

THOROUGH = EXAMPLES > 60
