"""The object store as the operator needs it: small objects by key, and errors with a remedy.

Only this package imports minio. Keys are relative to the bucket; which key may be used is the
caller's business.
"""
