"""One module for each kind of resource on AWS."""
