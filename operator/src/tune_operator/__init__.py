"""The tune-operator: runs TuneExperiment objects as Pods, one per attempt of a trial."""

__version__ = "0.1.0"
