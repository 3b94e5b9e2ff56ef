# The container that holds a Pod's network namespace: all it does is wait.
FROM scratch
ADD rootfs.tar /
USER 65532:65532
ENTRYPOINT ["/bin/busybox", "sleep", "2147483647"]
