"""What providers keep for organisations under ids of their own: whose it is, and what of it still goes on."""
