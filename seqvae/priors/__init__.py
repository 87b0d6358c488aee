"""p(z): one a file."""
