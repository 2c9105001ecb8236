"""`make bench`: what the gateway costs, beside nginx on the same mock, with the books checked afterwards."""
