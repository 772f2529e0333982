"""Programs of Truepenny, as images, Kubernetes and `make up` run them."""
