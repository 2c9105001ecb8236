"""The price book, and the one reader of litellm's price map."""
