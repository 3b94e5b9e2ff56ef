"""One experiment in this process: acceptance, claim on the run, memory between two looks."""
