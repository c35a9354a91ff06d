"""Players of other systems: accounts of a service's own players, and of those whom an outside issuer signs in."""
