"""OpenAI's moderations, which Mistral speaks as well."""
