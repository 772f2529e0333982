"""Tests of the Kubernetes files, as kustomize composes them. They need no cluster."""
