"""The machines of the rehearsal, as containers: instances, load balancers, databases, a registry."""
