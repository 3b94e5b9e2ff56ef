"""The TuneExperiment object: pydantic models as its single source, and the CRD made from them."""
