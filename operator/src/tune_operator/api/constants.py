"""Names that go into the cluster. They are API: changing one strands running experiments."""

GROUP = "tuneoperator.io"
VERSION = "v1alpha1"
KIND = "TuneExperiment"
PLURAL = "tuneexperiments"
SINGULAR = "tuneexperiment"
SHORT_NAMES = ("tx", "tuneexp")
CATEGORY = "tune"

LABEL_EXPERIMENT_UID = "tuneoperator.io/experiment-uid"
LABEL_EXPERIMENT = "tuneoperator.io/experiment"
LABEL_TRIAL = "tuneoperator.io/trial"
LABEL_ATTEMPT = "tuneoperator.io/attempt"
LABEL_LEADER = "tuneoperator.io/leader"

POD_FINALIZER = "tuneoperator.io/attempt-tracking"
EXPERIMENT_FINALIZER = "tuneoperator.io/graceful-stop"

TOKEN_AUDIENCE = "tuneoperator.io/reports"  # noqa: S105 - an audience, not a secret
TRAINER_CONTAINER = "trainer"

MAX_NAME_LENGTH = 40
"""Characters of metadata.name: a Pod name adds hash, trial and attempt and stays a label value."""
