"""The child: OpenAI's dialect on a unix socket, litellm behind it. Only `tollgate translator` imports it."""
