"""The HTTPS server trainers talk to: identity, transport and limits; what a report means is the sink's business."""
