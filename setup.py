"""Packages are found, not listed; a wheel holds the top-level folder configs/ as seqvae/configs."""

from setuptools import find_namespace_packages, find_packages, setup

# packages.find of pyproject.toml cannot give a found folder another name, so the search stands here
setup(
    packages=[
        *find_packages(include=["seqvae", "seqvae.*"]),
        *(f"seqvae.{name}" for name in find_namespace_packages(include=["configs", "configs.*"])),
    ],
    package_dir={"seqvae.configs": "configs"},
)
