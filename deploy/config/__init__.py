"""What people configure: environments, owner, release window."""
