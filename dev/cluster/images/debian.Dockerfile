# What a Dockerfile of this repository gets as BASE_IMAGE where no registry has debian:13-slim.
FROM scratch
ADD rootfs.tar /
CMD ["bash"]
