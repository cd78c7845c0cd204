"""The way out: what was made is removed, and what stays is named."""
