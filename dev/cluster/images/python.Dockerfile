# What the Dockerfiles of this repository get as BASE_IMAGE where no registry has python:3.11-slim.
FROM scratch
ADD rootfs.tar /
CMD ["python3"]
