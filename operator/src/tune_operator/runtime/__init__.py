"""The process frame on plain asyncio; it knows no Kubernetes."""
