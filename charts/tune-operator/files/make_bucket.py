"""Makes the bucket of the try-out MinIO: run by the chart's Job, in the operator's image."""

import os
import time

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

TIMEOUT_SECONDS = 240

client = Minio(
    endpoint=os.environ["ENDPOINT"],
    access_key=os.environ["ACCESS_KEY"],
    secret_key=os.environ["SECRET_KEY"],
    secure=False,
    region="us-east-1",
    http_client=urllib3.PoolManager(timeout=5.0, retries=False),
)
bucket = os.environ["BUCKET"]
deadline = time.monotonic() + TIMEOUT_SECONDS
while True:
    try:
        client.make_bucket(bucket_name=bucket)
        break
    except S3Error as error:
        if error.code in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            break
        reason: Exception = error
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        reason = error
    if time.monotonic() > deadline:
        raise SystemExit(f"bucket {bucket}: {reason}")
    time.sleep(1)
print(f"bucket {bucket} is there")
