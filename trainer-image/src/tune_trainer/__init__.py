"""The SDK that runs inside the Pod of a trial."""
