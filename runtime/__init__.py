"""Programs of Truepenny, started the same way in images, Kubernetes and `make up`.

- commands: the command line of every program.
- entrypoint: the image's ENTRYPOINT; becomes the program of one role.
- health_probe: the health check of a container; ends a program that hangs.

Nothing here needs `stack/`, the launcher of `make up`, which is not in the image.
"""
