"""Who may call: organisations, their API keys, and the cache that knows them without asking the database."""
