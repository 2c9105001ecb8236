"""One module for each ingress dialect."""
