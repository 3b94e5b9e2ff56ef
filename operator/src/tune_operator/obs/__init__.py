"""What the operator tells about itself: metrics, health, logs. Imports nothing else of ours."""
