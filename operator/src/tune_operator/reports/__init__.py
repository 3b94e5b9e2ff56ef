"""The HTTPS server trainers talk to: identity, transport, limits. What a report means is the
sink's business.
"""
