"""Removal of what the commands created; what stays is named."""
