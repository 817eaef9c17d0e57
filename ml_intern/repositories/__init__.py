"""Code of others on GitHub: found, read and cited by commit."""
