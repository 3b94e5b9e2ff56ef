# The single-node store that the Helm chart can install for trying out.
FROM scratch
ADD rootfs.tar /
USER 65532:65532
ENTRYPOINT ["/usr/bin/minio"]
