"""Mechanisms against what fails: knows no money and no HTTP."""
